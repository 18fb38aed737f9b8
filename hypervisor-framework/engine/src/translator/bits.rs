//! BT, BTS, BTR and BTC of a bit string in memory: the bit's number reaches beyond the operand.

use iced_x86::{Code, Instruction};

use super::context::field;
use super::emitter::host::{RAX, RBP};
use super::emitter::{At, group, opcode};
use super::memory::Need;
use super::registers::{Home, home, spilled};
use super::slow::Back;
use super::stubs::context;
use super::unit::{Builder, Emitted, Unsupported};

/// CF in the byte of the context's flags that LAHF gives.
const CARRY: i32 = field::FLAGS + 1;

impl Builder<'_> {
    /// The forms of 32 and 64 bits with the number in a register.
    pub(super) fn bit_string(&mut self, insn: &Instruction) -> Emitted {
        let (wide, operation) = match insn.code() {
            Code::Bt_rm32_r32 => (false, 0xa3),
            Code::Bt_rm64_r64 => (true, 0xa3),
            Code::Bts_rm32_r32 => (false, 0xab),
            Code::Bts_rm64_r64 => (true, 0xab),
            Code::Btr_rm32_r32 => (false, 0xb3),
            Code::Btr_rm64_r64 => (true, 0xb3),
            Code::Btc_rm32_r32 => (false, 0xbb),
            Code::Btc_rm64_r64 => (true, 0xbb),
            _ => return Err(Unsupported),
        };
        let number = match home(insn.op1_register()).ok_or(Unsupported)? {
            Home::Host(host) => Err(host),
            Home::Spilled(index) => Ok(spilled(index)),
        };
        let log2 = if wide { 6 } else { 5 };
        self.save_flags();
        self.clobber_flags();
        self.linear(insn)?;
        // The element: the number, signed, over the bits of one. MOV or MOVSXD.
        let load: &[u8] = if wide { opcode::LOAD } else { &[0x63] };
        match number {
            Ok(place) => self.e.memory(true, load, RBP, place),
            Err(host) => self.e.registers(true, load, RBP, host),
        }
        self.e.shift(true, group::SAR, RBP, log2);
        self.e.lea(RAX, At::Indexed { base: Some(RAX), index: RBP, scale: log2 - 3, disp: 0 });
        let write = operation != 0xa3;
        self.translate_address(Need { write, size: 1 << (log2 - 3), aligned: insn.has_lock_prefix() });
        match number {
            Ok(place) => self.e.memory(false, opcode::LOAD, RBP, place),
            Err(host) => self.e.registers(false, opcode::LOAD, RBP, host),
        }
        self.e.immediate(false, group::AND, RBP, (1 << log2) - 1);
        if insn.has_lock_prefix() {
            self.e.byte(0xf0);
        }
        self.e.memory(wide, &[0x0f, operation], RBP, At::Base(RAX, 0));
        // Only CF is another: setc al; and byte [flags], ~1; or byte [flags], al
        self.e.raw(&[0x0f, 0x92, 0xc0]);
        self.e.memory_with(false, &[0x80], group::AND, context(CARRY), 1);
        self.e.byte(0xfe);
        self.e.memory(false, &[0x08], RAX, context(CARRY));
        let back = Back::Resume { at: self.e.here(), flags: false };
        self.end_slow(self.vectors, back, true);
        Ok(())
    }
}
