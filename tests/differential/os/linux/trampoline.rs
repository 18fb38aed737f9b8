//! Into a case and out of it.

use std::cell::UnsafeCell;

/// Registers on the way into a case and out of it. The offsets are used by the assembly below.
#[repr(C, align(64))]
pub(super) struct Area {
    /// FXSAVE64 image.
    pub(super) image: [u8; 512],
    /// By ModRM number.
    pub(super) gpr: [u64; 16],
    pub(super) rflags: u64,
    /// Where the case starts or ended.
    pub(super) rip: u64,
    /// The host's stack pointer while the case runs.
    pub(super) host_stack: u64,
    /// The landing that was reached; [`FAULT`] after a signal.
    pub(super) landing: u64,
    pub(super) fault_vector: u64,
    pub(super) fault_error: u64,
    pub(super) fault_address: u64,
    /// 1 while the case runs.
    pub(super) active: u64,
    /// Where the case starts, and its code segment: a far pointer.
    pub(super) entry: u32,
    pub(super) entry_segment: u16,
    /// Not 0: the host has AVX.
    pub(super) avx: u16,
    /// The upper halves of YMM registers.
    pub(super) upper: [u128; 16],
}

/// See [`Area::landing`].
pub(super) const FAULT: u64 = u64::MAX;

/// Its user holds the lock of [`super::Native`]; the signal handler runs on the same thread.
#[repr(transparent)]
pub(super) struct Shared(pub(super) UnsafeCell<Area>);

// SAFETY: there is one user at a time, see above.
unsafe impl Sync for Shared {}

pub(super) static AREA: Shared = Shared(UnsafeCell::new(Area {
    image: [0; 512],
    gpr: [0; 16],
    rflags: 0,
    rip: 0,
    host_stack: 0,
    landing: 0,
    fault_vector: 0,
    fault_error: 0,
    fault_address: 0,
    active: 0,
    entry: 0,
    entry_segment: 0,
    avx: 0,
    upper: [0; 16],
}));

std::arch::global_asm!(
    ".balign 64",
    ".globl differential_enter",
    "differential_enter:",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "sub rsp, 8",
    "mov [rip + {area} + 656], rsp",
    "mov qword ptr [rip + {area} + 696], 1",
    "fxrstor64 [rip + {area}]",
    "cmp word ptr [rip + {area} + 710], 0",
    "je 3f",
    "vinsertf128 ymm0, ymm0, [rip + {area} + 720], 1",
    "vinsertf128 ymm1, ymm1, [rip + {area} + 736], 1",
    "vinsertf128 ymm2, ymm2, [rip + {area} + 752], 1",
    "vinsertf128 ymm3, ymm3, [rip + {area} + 768], 1",
    "vinsertf128 ymm4, ymm4, [rip + {area} + 784], 1",
    "vinsertf128 ymm5, ymm5, [rip + {area} + 800], 1",
    "vinsertf128 ymm6, ymm6, [rip + {area} + 816], 1",
    "vinsertf128 ymm7, ymm7, [rip + {area} + 832], 1",
    "vinsertf128 ymm8, ymm8, [rip + {area} + 848], 1",
    "vinsertf128 ymm9, ymm9, [rip + {area} + 864], 1",
    "vinsertf128 ymm10, ymm10, [rip + {area} + 880], 1",
    "vinsertf128 ymm11, ymm11, [rip + {area} + 896], 1",
    "vinsertf128 ymm12, ymm12, [rip + {area} + 912], 1",
    "vinsertf128 ymm13, ymm13, [rip + {area} + 928], 1",
    "vinsertf128 ymm14, ymm14, [rip + {area} + 944], 1",
    "vinsertf128 ymm15, ymm15, [rip + {area} + 960], 1",
    "3:",
    "push qword ptr [rip + {area} + 640]",
    "popfq",
    "mov rax, [rip + {area} + 512]",
    "mov rcx, [rip + {area} + 520]",
    "mov rdx, [rip + {area} + 528]",
    "mov rbx, [rip + {area} + 536]",
    "mov rsp, [rip + {area} + 544]",
    "mov rbp, [rip + {area} + 552]",
    "mov rsi, [rip + {area} + 560]",
    "mov rdi, [rip + {area} + 568]",
    "mov r8, [rip + {area} + 576]",
    "mov r9, [rip + {area} + 584]",
    "mov r10, [rip + {area} + 592]",
    "mov r11, [rip + {area} + 600]",
    "mov r12, [rip + {area} + 608]",
    "mov r13, [rip + {area} + 616]",
    "mov r14, [rip + {area} + 624]",
    "mov r15, [rip + {area} + 632]",
    "jmp fword ptr [rip + {area} + 704]",
    // Landings: 16 bytes each.
    ".balign 16",
    ".globl differential_landings",
    "differential_landings:",
    "mov qword ptr [rip + {area} + 664], 0",
    "jmp 2f",
    ".balign 16",
    "mov qword ptr [rip + {area} + 664], 1",
    "jmp 2f",
    ".balign 16",
    "mov qword ptr [rip + {area} + 664], 2",
    "jmp 2f",
    ".balign 16",
    "mov qword ptr [rip + {area} + 664], 3",
    "jmp 2f",
    ".balign 16",
    "2:",
    "mov [rip + {area} + 512], rax",
    "mov [rip + {area} + 520], rcx",
    "mov [rip + {area} + 528], rdx",
    "mov [rip + {area} + 536], rbx",
    "mov [rip + {area} + 544], rsp",
    "mov [rip + {area} + 552], rbp",
    "mov [rip + {area} + 560], rsi",
    "mov [rip + {area} + 568], rdi",
    "mov [rip + {area} + 576], r8",
    "mov [rip + {area} + 584], r9",
    "mov [rip + {area} + 592], r10",
    "mov [rip + {area} + 600], r11",
    "mov [rip + {area} + 608], r12",
    "mov [rip + {area} + 616], r13",
    "mov [rip + {area} + 624], r14",
    "mov [rip + {area} + 632], r15",
    "mov rsp, [rip + {area} + 656]",
    "pushfq",
    "pop qword ptr [rip + {area} + 640]",
    "push 0x202",
    "popfq",
    "fxsave64 [rip + {area}]",
    "cmp word ptr [rip + {area} + 710], 0",
    "je 4f",
    "vextractf128 [rip + {area} + 720], ymm0, 1",
    "vextractf128 [rip + {area} + 736], ymm1, 1",
    "vextractf128 [rip + {area} + 752], ymm2, 1",
    "vextractf128 [rip + {area} + 768], ymm3, 1",
    "vextractf128 [rip + {area} + 784], ymm4, 1",
    "vextractf128 [rip + {area} + 800], ymm5, 1",
    "vextractf128 [rip + {area} + 816], ymm6, 1",
    "vextractf128 [rip + {area} + 832], ymm7, 1",
    "vextractf128 [rip + {area} + 848], ymm8, 1",
    "vextractf128 [rip + {area} + 864], ymm9, 1",
    "vextractf128 [rip + {area} + 880], ymm10, 1",
    "vextractf128 [rip + {area} + 896], ymm11, 1",
    "vextractf128 [rip + {area} + 912], ymm12, 1",
    "vextractf128 [rip + {area} + 928], ymm13, 1",
    "vextractf128 [rip + {area} + 944], ymm14, 1",
    "vextractf128 [rip + {area} + 960], ymm15, 1",
    "4:",
    // Where the signal handler goes on, with the host's stack.
    ".globl differential_resume",
    "differential_resume:",
    "mov qword ptr [rip + {area} + 696], 0",
    "cmp word ptr [rip + {area} + 710], 0",
    "je 5f",
    "vzeroupper",
    "5:",
    "fninit",
    "mov dword ptr [rsp], 0x1f80",
    "ldmxcsr [rsp]",
    "add rsp, 8",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbp",
    "pop rbx",
    "ret",
    area = sym AREA,
);

const _: () = {
    assert!(std::mem::offset_of!(Area, gpr) == 512);
    assert!(std::mem::offset_of!(Area, rflags) == 640);
    assert!(std::mem::offset_of!(Area, rip) == 648);
    assert!(std::mem::offset_of!(Area, host_stack) == 656);
    assert!(std::mem::offset_of!(Area, landing) == 664);
    assert!(std::mem::offset_of!(Area, active) == 696);
    assert!(std::mem::offset_of!(Area, entry) == 704);
    assert!(std::mem::offset_of!(Area, entry_segment) == 708);
    assert!(std::mem::offset_of!(Area, avx) == 710);
    assert!(std::mem::offset_of!(Area, upper) == 720);
};

unsafe extern "C" {
    /// Loads the registers of [`AREA`] and jumps to its RIP; returns when a landing is reached or a signal came.
    pub(super) safe fn differential_enter();
    /// First of the landings, 16 bytes each.
    pub(super) static differential_landings: u8;
    /// Goes on as if a landing had been reached.
    pub(super) static differential_resume: u8;
}
