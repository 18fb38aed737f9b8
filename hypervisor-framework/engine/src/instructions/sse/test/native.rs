//! The host's CPU as the reference.
#![allow(unsafe_code)] // maps and calls machine code

use std::arch::asm;
use std::cell::{Cell, OnceCell};
use std::ffi::c_void;
use std::mem::offset_of;
use std::sync::Once;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

use super::State;

thread_local! {
    static CODE: OnceCell<*mut c_void> = const { OnceCell::new() };
}

const SIZE: usize = 4096;

fn page() -> *mut c_void {
    let rights = ProtFlags::READ | ProtFlags::WRITE | ProtFlags::EXEC;
    // SAFETY: a fresh anonymous mapping, never unmapped.
    let map = || unsafe { mmap_anonymous(std::ptr::null_mut(), SIZE, rights, MapFlags::PRIVATE) };
    CODE.with(|page| *page.get_or_init(|| map().expect("a page")))
}

thread_local! {
    /// MXCSR when an exception that was not masked stopped the instruction.
    static STOPPED: Cell<Option<u32>> = const { Cell::new(None) };
    /// Where the code ends.
    static RETURN: Cell<usize> = const { Cell::new(0) };
}

/// SIGFPE: notes MXCSR, masks all exceptions, and goes on behind the instruction.
extern "C" fn stopped(_signal: libc::c_int, _info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes a valid context to a handler installed with SA_SIGINFO; the signal is synchronous, so
    // the thread-locals are in no intermediate state.
    unsafe {
        let context = &mut *context.cast::<libc::ucontext_t>();
        let unit = &mut *context.uc_mcontext.fpregs;
        STOPPED.set(Some(unit.mxcsr));
        unit.mxcsr = 0x1f80;
        context.uc_mcontext.gregs[libc::REG_RIP as usize] = RETURN.get() as i64;
    }
}

/// Executes one instruction as [`run`] does; `Err` if an exception that is not masked stopped it, with MXCSR as then.
pub(super) fn run_unmasked(code: &[u8], state: &mut State) -> Result<(), u32> {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        // SAFETY: the handler only touches the context and thread-locals; all zeros is an empty mask.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = stopped as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            assert_eq!(libc::sigaction(libc::SIGFPE, &action, std::ptr::null_mut()), 0);
        }
    });
    RETURN.set(page() as usize + code.len());
    STOPPED.set(None);
    run(code, state);
    STOPPED.get().map_or(Ok(()), Err)
}

/// Executes one instruction that touches no more than what is in `state`.
pub(super) fn run(code: &[u8], state: &mut State) {
    let page = page();
    assert!(code.len() < SIZE);
    let state: *mut State = state;
    // SAFETY: the page is this thread's own, writable and larger than the code; what follows the code is a return.
    // The tests' instructions change only the registers named here and the memory of the state, to which RSI and RDI
    // point. Flags other than arithmetic ones and MXCSR are as before at the end.
    unsafe {
        std::ptr::copy_nonoverlapping(code.as_ptr(), page.cast(), code.len());
        page.cast::<u8>().add(code.len()).write(0xc3);
        asm!(
            "sub rsp, 8",
            "stmxcsr [rsp]",
            "ldmxcsr [r8 + {mxcsr}]",
            "movups xmm0, [r8 + {xmm}]",
            "movups xmm1, [r8 + {xmm} + 16]",
            "movups xmm2, [r8 + {xmm} + 32]",
            "mov rax, [r8 + {rax}]",
            "mov rcx, [r8 + {rcx}]",
            "mov rdx, [r8 + {rdx}]",
            "lea rsi, [r8 + {memory}]",
            "mov rdi, rsi",
            "push [r8 + {flags}]",
            "popfq",
            "call r9",
            "pushfq",
            "pop r10",
            "mov [r8 + {rax}], rax",
            "mov [r8 + {rcx}], rcx",
            "mov [r8 + {rdx}], rdx",
            "movups [r8 + {xmm}], xmm0",
            "movups [r8 + {xmm} + 16], xmm1",
            "movups [r8 + {xmm} + 32], xmm2",
            "stmxcsr [r8 + {mxcsr}]",
            "ldmxcsr [rsp]",
            "add rsp, 8",
            "and r10, {arithmetic}",
            "or r10, 2",
            "mov [r8 + {flags}], r10",
            xmm = const offset_of!(State, xmm),
            memory = const offset_of!(State, memory),
            rax = const offset_of!(State, rax),
            rcx = const offset_of!(State, rcx),
            rdx = const offset_of!(State, rdx),
            flags = const offset_of!(State, flags),
            mxcsr = const offset_of!(State, mxcsr),
            arithmetic = const super::ARITHMETIC,
            in("r8") state,
            in("r9") page,
            out("r10") _,
            out("rax") _, out("rcx") _, out("rdx") _, out("rsi") _, out("rdi") _,
            out("xmm0") _, out("xmm1") _, out("xmm2") _,
        );
    }
}
