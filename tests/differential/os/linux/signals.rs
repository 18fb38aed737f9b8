//! Faults of a case come back as signals, on a stack of their own.

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;

use crate::state::Mode;

use super::trampoline::{AREA, FAULT, differential_resume};

const SIGNALS: [i32; 5] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP];
/// Bytes of the signal stack: frames hold all vector registers.
const STACK: usize = 1 << 17;
/// Where ModRM's registers are in `gregs`.
const GREGS: [i32; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

/// A mark in the image's software bytes that an XSAVE image in standard format goes on behind it, and where that says which
/// components it has (Linux, `asm/sigcontext.h`).
const EXTENDED: (usize, u32) = (464, 0x4650_5853);
const XSTATE_BV: usize = 512;
const AVX_STATE: u32 = 4;
/// The upper halves of YMM registers in an XSAVE image.
const UPPER: usize = 576;

/// What handled the signals before.
static BEFORE: OnceLock<Vec<(i32, libc::sigaction)>> = OnceLock::new();

/// Installs the handlers, once, and a signal stack for this thread, which is never freed.
pub(super) fn install() -> bool {
    let stack = Box::leak(vec![0_u8; STACK].into_boxed_slice());
    let stack = libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: STACK };
    // SAFETY: the stack lives for ever.
    if unsafe { libc::sigaltstack(&stack, ptr::null_mut()) } != 0 {
        return false;
    }
    BEFORE.get_or_init(|| {
        SIGNALS
            .iter()
            .map(|&signal| {
                let mut before = MaybeUninit::<libc::sigaction>::zeroed();
                // SAFETY: zeroes are a valid `sigaction`; the handler has the signature of SA_SIGINFO.
                unsafe {
                    let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
                    action.sa_sigaction = on_signal as *const () as usize;
                    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
                    libc::sigaction(signal, &action, before.as_mut_ptr());
                    (signal, before.assume_init())
                }
            })
            .collect()
    });
    true
}

/// Takes a case's registers and makes the thread go on behind it.
extern "C" fn on_signal(signal: i32, _info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let context: *mut libc::ucontext_t = context.cast();
    let area = AREA.0.get();
    // SAFETY: a case runs on this thread, which holds the lock, or `active` is 0 and nothing is touched; the kernel's
    // context is valid and its floating-point part starts with an FXSAVE64 image, behind which what its mark says there is.
    unsafe {
        if (*area).active != 1 {
            return not_ours(signal);
        }
        let gregs = &mut (*context).uc_mcontext.gregs;
        for (number, &greg) in GREGS.iter().enumerate() {
            (*area).gpr[number] = gregs[greg as usize] as u64;
        }
        (*area).rflags = gregs[libc::REG_EFL as usize] as u64;
        (*area).rip = gregs[libc::REG_RIP as usize] as u64;
        (*area).fault_vector = gregs[libc::REG_TRAPNO as usize] as u64;
        (*area).fault_error = gregs[libc::REG_ERR as usize] as u64;
        (*area).fault_address = gregs[libc::REG_CR2 as usize] as u64;
        (*area).landing = FAULT;
        let image: *const u8 = (*context).uc_mcontext.fpregs.cast();
        ptr::copy_nonoverlapping(image, (&raw mut (*area).image).cast(), 512);
        let word = |at: usize| image.add(at).cast::<u32>().read_unaligned();
        if word(EXTENDED.0) == EXTENDED.1 && word(XSTATE_BV) & AVX_STATE != 0 {
            ptr::copy_nonoverlapping(image.add(UPPER), (&raw mut (*area).upper).cast(), 256);
        } else {
            (*area).upper = [0; 16];
        }
        gregs[libc::REG_RIP as usize] = (&raw const differential_resume) as i64;
        gregs[libc::REG_RSP as usize] = (*area).host_stack as i64;
        gregs[libc::REG_EFL as usize] = 0x202;
        let segments = &mut gregs[libc::REG_CSGSFS as usize];
        *segments = *segments & !0xffff | i64::from(Mode::Long.code_segment());
    }
}

/// Leaves a signal to what handled it before: it comes again.
fn not_ours(signal: i32) {
    let before = BEFORE.get().and_then(|all| all.iter().find(|(number, _)| *number == signal));
    if let Some((_, before)) = before {
        // SAFETY: this is what was installed before.
        unsafe { libc::sigaction(signal, before, ptr::null_mut()) };
    }
}
