//! Where guest registers live in the host.
//!
//! RSP holds the context; RAX and RBP are scratch: RAX takes flags and addresses, RBP the CPU's address and TLB
//! entries. That leaves 13 of 16.

use iced_x86::Register;

use super::context::field;
use super::emitter::At;
use crate::cpu::gpr;

/// A guest register's place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Home {
    /// A host register.
    Host(u8),
    /// A word of the context.
    Spilled(u8),
}

/// By ModRM number. R9–R11 are used least.
pub(super) const HOMES: [Home; 16] = [
    Home::Host(8),
    Home::Host(1),
    Home::Host(2),
    Home::Host(3),
    Home::Host(9),
    Home::Host(10),
    Home::Host(6),
    Home::Host(7),
    Home::Host(11),
    Home::Spilled(0),
    Home::Spilled(1),
    Home::Spilled(2),
    Home::Host(12),
    Home::Host(13),
    Home::Host(14),
    Home::Host(15),
];

/// The guest's RAX, RSP and RBP.
pub(super) const ACCUMULATOR: u8 = 8;
pub(super) const STACK_POINTER: u8 = 9;
pub(super) const FRAME_POINTER: u8 = 10;

const _: () = assert!(matches!(HOMES[gpr::RAX as usize], Home::Host(ACCUMULATOR)));
const _: () = assert!(matches!(HOMES[gpr::RSP as usize], Home::Host(STACK_POINTER)));
const _: () = assert!(matches!(HOMES[gpr::RBP as usize], Home::Host(FRAME_POINTER)));

/// The home of a full general register or a part of it that starts at bit 0.
pub(super) fn home(register: Register) -> Option<Home> {
    if matches!(register, Register::AH | Register::CH | Register::DH | Register::BH) {
        return None;
    }
    let full = register.full_register();
    full.is_gpr64().then(|| HOMES[full.number() & 15])
}

/// The word of the context a spilled register lives in.
pub(super) fn spilled(index: u8) -> At {
    At::Base(super::emitter::host::RSP, spilled_offset(index))
}

pub(super) fn spilled_offset(index: u8) -> i32 {
    field::SPILLED + 8 * i32::from(index)
}

/// The part of host register `number` that has the size of `like`.
pub(super) fn sized(number: u8, like: Register) -> Register {
    let base = match like.size() {
        1 => return BYTES[number as usize & 15],
        2 => Register::AX,
        4 => Register::EAX,
        _ => Register::RAX,
    };
    base + u32::from(number)
}

/// Byte registers as they are with a REX prefix; the first four need none.
const BYTES: [Register; 16] = [
    Register::AL,
    Register::CL,
    Register::DL,
    Register::BL,
    Register::SPL,
    Register::BPL,
    Register::SIL,
    Register::DIL,
    Register::R8L,
    Register::R9L,
    Register::R10L,
    Register::R11L,
    Register::R12L,
    Register::R13L,
    Register::R14L,
    Register::R15L,
];
