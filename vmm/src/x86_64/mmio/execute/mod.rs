//! What each instruction does, by family.

mod arithmetic;
mod bit_test;
mod conditional;
mod data_move;
mod exchange;
mod multiply;
mod port_io;
mod shift;
mod stack;
mod string;
mod vector;

use iced_x86::{EncodingKind, Mnemonic, OpKind};

use super::context::GuestContext;
use super::emulation::{Done, Emulation};
use super::error::{Stop, Unsupported};

impl<C: GuestContext> Emulation<'_, C> {
    /// Executes an instruction for its memory operand.
    pub(super) fn execute(&mut self) -> Result<Done, Stop<C::Error>> {
        let instruction = self.instruction;
        if instruction.encoding() != EncodingKind::Legacy {
            return Err(Unsupported::Encoding.into());
        }
        if instruction.is_string_instruction() {
            return self.string();
        }
        if !(0..instruction.op_count()).any(|index| instruction.op_kind(index) == OpKind::Memory) {
            return Err(Unsupported::NoMemoryOperand.into());
        }
        match instruction.mnemonic() {
            Mnemonic::Mov | Mnemonic::Movnti => self.mov(),
            Mnemonic::Movzx => self.mov_extended(false),
            Mnemonic::Movsx | Mnemonic::Movsxd => self.mov_extended(true),
            Mnemonic::Movbe => self.mov_big_endian(),
            Mnemonic::Add
            | Mnemonic::Adc
            | Mnemonic::Sub
            | Mnemonic::Sbb
            | Mnemonic::And
            | Mnemonic::Or
            | Mnemonic::Xor => self.arithmetic(),
            Mnemonic::Cmp | Mnemonic::Test => self.compare(),
            Mnemonic::Inc | Mnemonic::Dec | Mnemonic::Neg | Mnemonic::Not => self.unary(),
            Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc => self.bit_test(),
            Mnemonic::Shl
            | Mnemonic::Sal
            | Mnemonic::Shr
            | Mnemonic::Sar
            | Mnemonic::Rol
            | Mnemonic::Ror
            | Mnemonic::Rcl
            | Mnemonic::Rcr => self.shift(),
            Mnemonic::Imul => self.multiply(),
            Mnemonic::Push => self.push(),
            Mnemonic::Pop => self.pop(),
            Mnemonic::Xchg => self.exchange(),
            Mnemonic::Xadd => self.exchange_add(),
            Mnemonic::Cmpxchg => self.compare_exchange(),
            Mnemonic::Cmpxchg8b => self.compare_exchange_pair(4),
            Mnemonic::Cmpxchg16b => self.compare_exchange_pair(8),
            // Cache hints and flushes have no effect on a device.
            Mnemonic::Nop
            | Mnemonic::Prefetchnta
            | Mnemonic::Prefetcht0
            | Mnemonic::Prefetcht1
            | Mnemonic::Prefetcht2
            | Mnemonic::Prefetchw
            | Mnemonic::Clflush
            | Mnemonic::Clflushopt
            | Mnemonic::Clwb => Ok(()),
            Mnemonic::Seto
            | Mnemonic::Setno
            | Mnemonic::Setb
            | Mnemonic::Setae
            | Mnemonic::Sete
            | Mnemonic::Setne
            | Mnemonic::Setbe
            | Mnemonic::Seta
            | Mnemonic::Sets
            | Mnemonic::Setns
            | Mnemonic::Setp
            | Mnemonic::Setnp
            | Mnemonic::Setl
            | Mnemonic::Setge
            | Mnemonic::Setle
            | Mnemonic::Setg => self.set_conditional(),
            Mnemonic::Cmovo
            | Mnemonic::Cmovno
            | Mnemonic::Cmovb
            | Mnemonic::Cmovae
            | Mnemonic::Cmove
            | Mnemonic::Cmovne
            | Mnemonic::Cmovbe
            | Mnemonic::Cmova
            | Mnemonic::Cmovs
            | Mnemonic::Cmovns
            | Mnemonic::Cmovp
            | Mnemonic::Cmovnp
            | Mnemonic::Cmovl
            | Mnemonic::Cmovge
            | Mnemonic::Cmovle
            | Mnemonic::Cmovg => self.mov_conditional(),
            _ => self.vector(),
        }?;
        Ok(Done::Complete)
    }
}
