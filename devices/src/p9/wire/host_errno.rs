//! The host's error numbers and the wire's. One table with a column per host, so that either can be tested on both.

use crate::p9::os;

/// A column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::p9) enum HostErrnos {
    /// `asm-generic/errno.h`: x86, arm64, and what the wire carries.
    #[allow(dead_code)] // each host has one of the two
    Linux,
    /// `sys/errno.h` of XNU.
    #[allow(dead_code)]
    MacOs,
}

/// What the host reports that Linux knows no number for.
const UNKNOWN: u32 = 5; // EIO

/// Linux, macOS. Where two of macOS's stand for one of Linux's, or one has no counterpart, the closest is taken.
pub(super) const TABLE: &[(u32, i32, &str)] = &[
    (1, 1, "EPERM"),
    (2, 2, "ENOENT"),
    (3, 3, "ESRCH"),
    (4, 4, "EINTR"),
    (5, 5, "EIO"),
    (6, 6, "ENXIO"),
    (7, 7, "E2BIG"),
    (8, 8, "ENOEXEC"),
    (9, 9, "EBADF"),
    (10, 10, "ECHILD"),
    (35, 11, "EDEADLK"),
    (12, 12, "ENOMEM"),
    (13, 13, "EACCES"),
    (14, 14, "EFAULT"),
    (15, 15, "ENOTBLK"),
    (16, 16, "EBUSY"),
    (17, 17, "EEXIST"),
    (18, 18, "EXDEV"),
    (19, 19, "ENODEV"),
    (20, 20, "ENOTDIR"),
    (21, 21, "EISDIR"),
    (22, 22, "EINVAL"),
    (23, 23, "ENFILE"),
    (24, 24, "EMFILE"),
    (25, 25, "ENOTTY"),
    (26, 26, "ETXTBSY"),
    (27, 27, "EFBIG"),
    (28, 28, "ENOSPC"),
    (29, 29, "ESPIPE"),
    (30, 30, "EROFS"),
    (31, 31, "EMLINK"),
    (32, 32, "EPIPE"),
    (33, 33, "EDOM"),
    (34, 34, "ERANGE"),
    (11, 35, "EAGAIN"),
    (115, 36, "EINPROGRESS"),
    (114, 37, "EALREADY"),
    (88, 38, "ENOTSOCK"),
    (89, 39, "EDESTADDRREQ"),
    (90, 40, "EMSGSIZE"),
    (91, 41, "EPROTOTYPE"),
    (92, 42, "ENOPROTOOPT"),
    (93, 43, "EPROTONOSUPPORT"),
    (94, 44, "ESOCKTNOSUPPORT"),
    (95, 45, "ENOTSUP"),
    (96, 46, "EPFNOSUPPORT"),
    (97, 47, "EAFNOSUPPORT"),
    (98, 48, "EADDRINUSE"),
    (99, 49, "EADDRNOTAVAIL"),
    (100, 50, "ENETDOWN"),
    (101, 51, "ENETUNREACH"),
    (102, 52, "ENETRESET"),
    (103, 53, "ECONNABORTED"),
    (104, 54, "ECONNRESET"),
    (105, 55, "ENOBUFS"),
    (106, 56, "EISCONN"),
    (107, 57, "ENOTCONN"),
    (108, 58, "ESHUTDOWN"),
    (109, 59, "ETOOMANYREFS"),
    (110, 60, "ETIMEDOUT"),
    (111, 61, "ECONNREFUSED"),
    (40, 62, "ELOOP"),
    (36, 63, "ENAMETOOLONG"),
    (112, 64, "EHOSTDOWN"),
    (113, 65, "EHOSTUNREACH"),
    (39, 66, "ENOTEMPTY"),
    (11, 67, "EPROCLIM"),
    (87, 68, "EUSERS"),
    (122, 69, "EDQUOT"),
    (116, 70, "ESTALE"),
    (66, 71, "EREMOTE"),
    (37, 77, "ENOLCK"),
    (38, 78, "ENOSYS"),
    (22, 79, "EFTYPE"),
    (13, 80, "EAUTH"),
    (13, 81, "ENEEDAUTH"),
    (75, 84, "EOVERFLOW"),
    (8, 85, "EBADEXEC"),
    (8, 86, "EBADARCH"),
    (8, 88, "EBADMACHO"),
    (125, 89, "ECANCELED"),
    (43, 90, "EIDRM"),
    (42, 91, "ENOMSG"),
    (84, 92, "EILSEQ"),
    (61, 93, "ENOATTR"), // Linux says ENODATA for an attribute that is not there
    (74, 94, "EBADMSG"),
    (72, 95, "EMULTIHOP"),
    (61, 96, "ENODATA"),
    (67, 97, "ENOLINK"),
    (63, 98, "ENOSR"),
    (60, 99, "ENOSTR"),
    (71, 100, "EPROTO"),
    (62, 101, "ETIME"),
    (95, 102, "EOPNOTSUPP"),
    (131, 104, "ENOTRECOVERABLE"),
    (130, 105, "EOWNERDEAD"),
    (105, 106, "EQFULL"),
];

/// The largest number Linux has; what lies above is none of its errors.
const LARGEST_LINUX: i32 = 133;

/// The wire's number for an error of `host`.
pub(super) fn of(host: HostErrnos, number: i32) -> u32 {
    match host {
        HostErrnos::Linux if (1..=LARGEST_LINUX).contains(&number) => number.unsigned_abs(),
        HostErrnos::Linux => UNKNOWN,
        HostErrnos::MacOs => {
            TABLE.iter().find(|(_, macos, _)| *macos == number).map_or(UNKNOWN, |(linux, _, _)| *linux)
        }
    }
}

/// The wire's number for an error of the host we run on.
pub(super) fn to_linux(number: i32) -> u32 {
    of(os::ERRNOS, number)
}
