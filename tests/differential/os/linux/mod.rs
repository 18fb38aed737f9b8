//! Instructions run by the host's own CPU under Linux: a case's registers are loaded, its bytes jumped to; it comes back
//! through a landing, or through a signal when it faults. Cases that do not fault need no system call.
#![allow(unsafe_code)] // maps memory at fixed addresses and runs generated code there

mod signals;
mod trampoline;

use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::state::{
    CODE, CODE_SIZE, End, Fault, GS_BASE, Image, Mode, Outcome, Program, State, USER_DATA, WINDOW,
    WINDOW_SIZE, WRITABLE,
};
use trampoline::{AREA, FAULT, differential_enter, differential_landings};

/// Landings beyond the first, at most.
const LANDINGS: usize = 3;
/// Inaccessible bytes on both sides of the window and of the code.
const GUARD: usize = 0x5_0000;
/// Bytes of the code pages with the one that leads out of them.
const MAPPED_CODE: usize = CODE_SIZE + 0x1000;
/// Offset of the exits of 32-bit code in that page.
const COMPATIBILITY_EXITS: usize = 0x100;
/// `arch_prctl` function: sets the base of GS.
const ARCH_SET_GS: i32 = 0x1001;

/// One case at a time: addresses, signal handlers and the registers' area are the process's.
static ONE: Mutex<Option<Mapped>> = Mutex::new(None);

#[derive(Clone, Copy)]
struct Mapped {
    /// The code pages again, to be written.
    code: usize,
}

/// Does the host have all of x86-64-v3?
pub(crate) fn has_v3() -> bool {
    use std::arch::is_x86_feature_detected as has;
    has!("avx2")
        && has!("fma")
        && has!("f16c")
        && has!("bmi1")
        && has!("bmi2")
        && has!("lzcnt")
        && has!("movbe")
}

/// The host's CPU. It belongs to the thread that opened it.
pub(crate) struct Native {
    _one: MutexGuard<'static, Option<Mapped>>,
    code: *mut u8,
}

impl Native {
    /// The host's CPU, when its turn has come. Panics where the kernel refuses what it needs.
    pub(crate) fn open() -> Option<Self> {
        let mut one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        if one.is_none() {
            *one = Some(map().expect("window and code can be mapped at their addresses"));
        }
        let code = (*one)?.code as *mut u8;
        assert!(signals::install(), "a signal stack can be set");
        // SAFETY: nothing in a Rust process uses GS.
        unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_SET_GS, GS_BASE) };
        // SAFETY: 64-bit code does not use DS and ES; 32-bit code needs them.
        unsafe {
            std::arch::asm!("mov ds, {0:x}", "mov es, {0:x}", in(reg) USER_DATA, options(nomem, nostack, preserves_flags));
        }
        Some(Self { _one: one, code })
    }

    /// Writes to the window; what is written must lie within its writable part, but for the call that fills all of it.
    pub(crate) fn set_window(&mut self, offset: usize, bytes: &[u8]) {
        let read_only = offset + bytes.len() > WRITABLE;
        assert!(offset + bytes.len() <= WINDOW_SIZE, "outside of the window");
        let last = (WINDOW as usize + WRITABLE) as *mut libc::c_void;
        // SAFETY: the window was mapped by `map` and nothing refers to it.
        unsafe {
            if read_only {
                libc::mprotect(last, WINDOW_SIZE - WRITABLE, libc::PROT_READ | libc::PROT_WRITE);
            }
            ptr::copy_nonoverlapping(bytes.as_ptr(), (WINDOW as usize + offset) as *mut u8, bytes.len());
            if read_only {
                libc::mprotect(last, WINDOW_SIZE - WRITABLE, libc::PROT_READ);
            }
        }
    }

    /// Reads the window from its start.
    pub(crate) fn window(&self, bytes: &mut [u8]) {
        assert!(bytes.len() <= WINDOW_SIZE, "outside of the window");
        // SAFETY: the window was mapped by `map`.
        unsafe { ptr::copy_nonoverlapping(WINDOW as *const u8, bytes.as_mut_ptr(), bytes.len()) };
    }

    /// Runs a case.
    pub(crate) fn run(&mut self, program: &Program, state: &State) -> Outcome {
        self.put_code(program.start, &program.bytes);
        assert!(program.landings.len() <= LANDINGS, "too many landings");
        for (number, at) in [program.end()].iter().chain(&program.landings).enumerate() {
            let exit = match program.mode {
                Mode::Long => 16 * number,
                Mode::Compatibility => COMPATIBILITY_EXITS + 16 * number,
            };
            let distance = (CODE + CODE_SIZE as u64 + exit as u64).wrapping_sub(at + 5) as u32;
            self.put_code(*at, &[0xe9]);
            self.put_code(at + 1, &distance.to_le_bytes());
        }
        let area = AREA.0.get();
        // SAFETY: the lock is held, and no case runs.
        unsafe {
            (*area).image = state.image.0;
            (*area).gpr = state.gpr;
            (*area).rflags = state.rflags;
            (*area).entry = state.rip as u32;
            (*area).entry_segment = program.mode.code_segment();
            (*area).avx = u16::from(has_v3());
            (*area).upper = state.upper;
        }
        differential_enter();
        // SAFETY: the case is over.
        let area = unsafe { &*area };
        let mut outcome = Outcome {
            state: State {
                gpr: area.gpr,
                rflags: area.rflags,
                rip: area.rip,
                image: Image(area.image),
                upper: area.upper,
            },
            end: End::Landed,
        };
        match area.landing {
            FAULT => {
                let vector = area.fault_vector as u8;
                outcome.end = End::Fault(Fault {
                    vector,
                    error: area.fault_error as u32,
                    address: if vector == 14 { area.fault_address } else { 0 },
                });
            }
            0 => outcome.state.rip = program.end(),
            number => outcome.state.rip = program.landings[number as usize - 1],
        }
        outcome
    }

    fn put_code(&mut self, at: u64, bytes: &[u8]) {
        let offset = at.wrapping_sub(CODE) as usize;
        assert!(offset < CODE_SIZE && offset + bytes.len() <= CODE_SIZE, "outside of the code");
        // SAFETY: within the writable mapping of the code pages, which nothing refers to.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.code.add(offset), bytes.len()) };
    }
}

/// Fills the page behind the code with jumps to the landings in the host's own code, 16 bytes each: `jmp [rip + 2]`, and
/// the address, aligned as a case that checks alignment needs it.
///
/// # Safety
/// `page` is a writable page that nothing refers to.
unsafe fn make_exits(page: *mut u8) {
    for number in 0..=LANDINGS {
        let target = (&raw const differential_landings) as u64 + 16 * number as u64;
        let mut jump = [0xff, 0x25, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        jump[8..].copy_from_slice(&target.to_le_bytes());
        // SAFETY: as the caller says.
        unsafe { ptr::copy_nonoverlapping(jump.as_ptr(), page.add(16 * number), jump.len()) };
        // From 32-bit code: a far jump to the one above.
        let mut jump = [0xea, 0, 0, 0, 0, Mode::Long.code_segment() as u8, 0];
        jump[1..5].copy_from_slice(&(CODE as u32 + (CODE_SIZE + 16 * number) as u32).to_le_bytes());
        let at = COMPATIBILITY_EXITS + 16 * number;
        // SAFETY: as the caller says.
        unsafe { ptr::copy_nonoverlapping(jump.as_ptr(), page.add(at), jump.len()) };
    }
}

/// Maps window and code.
fn map() -> Option<Mapped> {
    let fresh = libc::MAP_FIXED_NOREPLACE;
    let private = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let (read, write) = (libc::PROT_READ, libc::PROT_WRITE);
    // SAFETY: only new mappings are made, or mappings over those made here.
    unsafe {
        for (start, size) in [(WINDOW as usize, WINDOW_SIZE), (CODE as usize, MAPPED_CODE)] {
            let start = (start - GUARD) as *mut libc::c_void;
            let got = libc::mmap(start, size + 2 * GUARD, libc::PROT_NONE, private | fresh, -1, 0);
            if got != start {
                return None;
            }
        }
        let at = WINDOW as *mut libc::c_void;
        let flags = private | libc::MAP_FIXED | libc::MAP_POPULATE;
        if libc::mmap(at, WINDOW_SIZE, read | write, flags, -1, 0) != at {
            return None;
        }
        let file = libc::memfd_create(c"differential".as_ptr(), libc::MFD_CLOEXEC);
        if file < 0 || libc::ftruncate(file, MAPPED_CODE as i64) != 0 {
            return None;
        }
        let shared = libc::MAP_SHARED | libc::MAP_POPULATE;
        let code = libc::mmap(ptr::null_mut(), MAPPED_CODE, read | write, shared, file, 0);
        let at = CODE as *mut libc::c_void;
        let run = libc::mmap(at, MAPPED_CODE, read | libc::PROT_EXEC, shared | libc::MAP_FIXED, file, 0);
        libc::close(file);
        if code == libc::MAP_FAILED || run != at {
            return None;
        }
        make_exits(code.cast::<u8>().add(CODE_SIZE));
        Some(Mapped { code: code as usize })
    }
}
