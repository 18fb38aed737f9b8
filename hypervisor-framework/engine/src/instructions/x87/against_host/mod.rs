//! x87, MMX and state saving against the host's own CPU.
//!
//! The same instruction runs natively and in the engine from the same state; all of the state is compared, but for the
//! instruction and operand pointers, which processors keep differently.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)] // tests

mod guest;
mod native;
mod samples;

mod avx_state_test;
mod mmx_test;
mod saving_test;
mod transcendental_test;
mod x87_test;

use guest::Guest;
use native::Native;

/// Bytes an instruction may use as its memory operand.
const OPERAND: usize = 2048;

/// State before and after an instruction. `rsi` and `rdi` point at the operand.
#[derive(Clone, PartialEq, Eq)]
struct State {
    /// As FXSAVE64 has it.
    image: Image,
    operand: Operand,
    /// Arithmetic flags.
    flags: u64,
    rax: u64,
    rdx: u64,
}

#[derive(Clone, PartialEq, Eq)]
#[repr(C, align(64))]
struct Image([u8; 512]);

#[derive(Clone, PartialEq, Eq)]
#[repr(C, align(64))]
struct Operand([u8; OPERAND]);

impl State {
    fn initial() -> Self {
        let mut image = Image([0; 512]);
        image.0[0..2].copy_from_slice(&0x37f_u16.to_le_bytes());
        image.0[24..28].copy_from_slice(&0x1f80_u32.to_le_bytes());
        Self { image, operand: Operand([0; OPERAND]), flags: 0x2, rax: 0, rdx: 0 }
    }

    fn u16(&self, offset: usize) -> u16 {
        u16::from_le_bytes([self.image.0[offset], self.image.0[offset + 1]])
    }

    fn control(&self) -> u16 {
        self.u16(0)
    }

    fn set_control(&mut self, value: u16) {
        self.image.0[0..2].copy_from_slice(&value.to_le_bytes());
    }

    fn status(&self) -> u16 {
        self.u16(2)
    }

    fn set_status(&mut self, value: u16) {
        self.image.0[2..4].copy_from_slice(&value.to_le_bytes());
    }

    fn top(&self) -> usize {
        usize::from(self.status() >> 11 & 7)
    }

    fn st(&self, i: usize) -> (u16, u64) {
        let place = &self.image.0[32 + 16 * i..];
        let significand = u64::from_le_bytes(place[..8].try_into().unwrap());
        (u16::from_le_bytes(place[8..10].try_into().unwrap()), significand)
    }

    fn set_st(&mut self, i: usize, (sign_exponent, significand): (u16, u64)) {
        let place = &mut self.image.0[32 + 16 * i..];
        place[..8].copy_from_slice(&significand.to_le_bytes());
        place[8..10].copy_from_slice(&sign_exponent.to_le_bytes());
    }

    fn valid(&self) -> u8 {
        self.image.0[4]
    }

    fn mxcsr(&self) -> u32 {
        u32::from_le_bytes(self.image.0[24..28].try_into().unwrap())
    }

    /// Zeroes what is not compared: last opcode and pointers, MXCSR_MASK, reserved bytes.
    fn cleaned(mut self) -> Self {
        self.image.0[5..24].fill(0);
        self.image.0[28..32].fill(0);
        for i in 0..8 {
            self.image.0[32 + 16 * i + 10..32 + 16 * i + 16].fill(0);
        }
        self.image.0[416..].fill(0);
        self.flags &= 0x8d5;
        self
    }

    /// What differs, in words.
    fn difference(&self, other: &Self) -> String {
        let mut text = String::new();
        let mut note = |what: &str, a: String, b: String| {
            if a != b {
                text += &format!("  {what}: host {a}, engine {b}\n");
            }
        };
        note("control", format!("{:04x}", self.control()), format!("{:04x}", other.control()));
        note("status", format!("{:04x}", self.status()), format!("{:04x}", other.status()));
        note("valid", format!("{:08b}", self.valid()), format!("{:08b}", other.valid()));
        for i in 0..8 {
            note(&format!("st{i}"), format!("{:04x?}", self.st(i)), format!("{:04x?}", other.st(i)));
        }
        note("mxcsr", format!("{:04x}", self.mxcsr()), format!("{:04x}", other.mxcsr()));
        for i in 0..16 {
            let xmm = |s: &Self| format!("{:02x?}", &s.image.0[160 + 16 * i..176 + 16 * i]);
            note(&format!("xmm{i}"), xmm(self), xmm(other));
        }
        note("flags", format!("{:x}", self.flags), format!("{:x}", other.flags));
        note("rax", format!("{:x}", self.rax), format!("{:x}", other.rax));
        note("rdx", format!("{:x}", self.rdx), format!("{:x}", other.rdx));
        let places: Vec<_> = (0..OPERAND).filter(|&i| self.operand.0[i] != other.operand.0[i]).collect();
        for &i in places.iter().take(16) {
            note(
                &format!("operand+{i}"),
                format!("{:02x}", self.operand.0[i]),
                format!("{:02x}", other.operand.0[i]),
            );
        }
        text
    }

    fn describe(&self) -> String {
        let stack: Vec<_> = (0..8)
            .map(|i| {
                let empty = self.valid() >> ((self.top() + i) & 7) & 1 == 0;
                let (se, sig) = self.st(i);
                format!("{}{se:04x}:{sig:016x}", if empty { "empty " } else { "" })
            })
            .collect();
        format!(
            "control {:04x} status {:04x} flags {:x} mxcsr {:x} operand {:02x?}\n  {}",
            self.control(),
            self.status(),
            self.flags,
            self.mxcsr(),
            &self.operand.0[..16],
            stack.join("\n  ")
        )
    }
}

/// Both executors.
struct Pair {
    native: Native,
    guest: Guest,
    mismatches: std::collections::BTreeMap<Vec<u8>, usize>,
}

impl Pair {
    fn new() -> Self {
        Self { native: Native::new(), guest: Guest::new(), mismatches: std::collections::BTreeMap::new() }
    }

    /// Runs `code` in both: (host's, engine's) states after it.
    fn run(&mut self, code: &[u8], state: &State) -> (State, State) {
        let host = self.native.run(code, state).cleaned();
        let guest = self.guest.run(code, state).cleaned();
        (host, guest)
    }

    /// Runs `code` in both and reports a difference.
    fn compare(&mut self, code: &[u8], state: &State) {
        let (host, guest) = self.run(code, state);
        if host != guest {
            self.report(code, state, &host, &guest);
        }
    }

    fn report(&mut self, code: &[u8], state: &State, host: &State, guest: &State) {
        let count = self.mismatches.entry(code.to_vec()).or_default();
        *count += 1;
        if *count <= 2 {
            eprintln!("{code:02x?}: {}\n{}", state.describe(), host.difference(guest));
        }
    }

    fn finish(self) {
        assert!(self.mismatches.is_empty(), "instructions differ from the host's: {:02x?}", self.mismatches);
    }
}
