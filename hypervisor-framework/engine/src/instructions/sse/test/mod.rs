//! SSE instructions run by the engine and by the host's CPU, compared bit for bit.

mod element_test;
mod engine;
mod fault_test;
mod float_test;
mod integer_test;
mod mixed_test;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod native;
mod operands;
mod shape_test;
mod text_test;
mod vex_test;

use crate::cpu::TrapCause;
use crate::cpu::trap_vector as vector;

/// Bytes of memory an instruction can reach, at RSI.
pub(super) const MEMORY: usize = 64;

/// What instructions under test use: XMM0–2, RAX, RCX, RDX, 64 bytes at RSI (and RDI), MXCSR and RFLAGS.
#[derive(Debug, Clone, PartialEq, Eq)]
#[repr(C, align(16))]
pub(super) struct State {
    pub(super) xmm: [u128; 3],
    pub(super) memory: [u8; MEMORY],
    pub(super) rax: u64,
    pub(super) rcx: u64,
    pub(super) rdx: u64,
    pub(super) flags: u64,
    pub(super) mxcsr: u32,
}

impl Default for State {
    fn default() -> Self {
        Self {
            xmm: [0; 3],
            memory: [0; MEMORY],
            rax: 0,
            rcx: 0,
            rdx: 0,
            flags: ARITHMETIC | 2,
            mxcsr: 0x1f80,
        }
    }
}

/// CF, PF, AF, ZF, SF and OF.
const ARITHMETIC: u64 = 0x8d5;

/// ModRM of `xmm0, xmm1`.
pub(super) const REGISTERS: u8 = 0xc1;
/// ModRM of `xmm0, [rsi]`.
pub(super) const AT_RSI: u8 = 0x06;

/// Runs an instruction on both, from both settings of the arithmetic flags, and compares all of the state.
#[track_caller]
pub(super) fn compare(engine: &mut engine::Machine, code: &[u8], start: &State) {
    for flags in [ARITHMETIC | 2, 2] {
        let start = State { flags, ..start.clone() };
        let mut ours = start.clone();
        let outcome = engine.run(code, &mut ours);
        assert_eq!(outcome, Ok(()), "{code:02x?} from {start:#x?}");
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        {
            let mut theirs = start.clone();
            native::run(code, &mut theirs);
            assert_eq!(ours, theirs, "{code:02x?} from {start:#x?}");
        }
    }
}

/// The same where exceptions are not masked: both complete, or both are stopped with the same flags.
#[track_caller]
pub(super) fn compare_unmasked(engine: &mut engine::Machine, code: &[u8], start: &State) {
    let mut ours = start.clone();
    let outcome = match engine.run(code, &mut ours) {
        Err(cause) => {
            assert_eq!(cause, TrapCause::Fault { vector: vector::XM, error_code: None });
            Err(engine.cpu.mxcsr)
        }
        Ok(()) => Ok(()),
    };
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    {
        let mut theirs = start.clone();
        let expected = native::run_unmasked(code, &mut theirs);
        assert_eq!(outcome, expected, "{code:02x?} from {start:#x?}");
        theirs.mxcsr = ours.mxcsr;
        assert_eq!(ours, theirs, "{code:02x?} from {start:#x?}");
    }
    let _ = outcome;
}

/// The fault an instruction raises.
pub(super) fn fault(engine: &mut engine::Machine, code: &[u8], start: &State) -> TrapCause {
    engine.run(code, &mut start.clone()).expect_err("a fault")
}
