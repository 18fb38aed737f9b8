//! FMA: multiplication and addition with one rounding.

use iced_x86::Mnemonic;

use super::lanes::compute_three;
use super::steps::{is_wide, push_operation, push_read, push_write};
use crate::block::{Exec, Op, Translator, exec};
use crate::cpu::Cpu;
use crate::instructions::sse::float::{Context, Fusion, fuse_lanes, fuse_lowest};

macro_rules! names {
    ($($m132:ident $m213:ident $m231:ident $format:ident $negate_product:literal $negate_even:literal $negate_odd:literal;)*) => {
        /// The operation's order of operands, its signs, and what it works on.
        fn fusion(mnemonic: Mnemonic) -> Option<(Fusion, Elements)> {
            let signs = |product, even, odd| Fusion::new(product, [even, odd]);
            Some(match mnemonic {
                $(
                    Mnemonic::$m132 => (signs($negate_product, $negate_even, $negate_odd).in_order(0), Elements::$format),
                    Mnemonic::$m213 => (signs($negate_product, $negate_even, $negate_odd).in_order(1), Elements::$format),
                    Mnemonic::$m231 => (signs($negate_product, $negate_even, $negate_odd).in_order(2), Elements::$format),
                )*
                _ => return None,
            })
        }
    };
}

/// What an instruction works on.
#[derive(Clone, Copy)]
enum Elements {
    Singles,
    Doubles,
    Single,
    Double,
}

names! {
    Vfmadd132ps Vfmadd213ps Vfmadd231ps Singles false false false;
    Vfmadd132pd Vfmadd213pd Vfmadd231pd Doubles false false false;
    Vfmadd132ss Vfmadd213ss Vfmadd231ss Single false false false;
    Vfmadd132sd Vfmadd213sd Vfmadd231sd Double false false false;
    Vfmsub132ps Vfmsub213ps Vfmsub231ps Singles false true true;
    Vfmsub132pd Vfmsub213pd Vfmsub231pd Doubles false true true;
    Vfmsub132ss Vfmsub213ss Vfmsub231ss Single false true true;
    Vfmsub132sd Vfmsub213sd Vfmsub231sd Double false true true;
    Vfnmadd132ps Vfnmadd213ps Vfnmadd231ps Singles true false false;
    Vfnmadd132pd Vfnmadd213pd Vfnmadd231pd Doubles true false false;
    Vfnmadd132ss Vfnmadd213ss Vfnmadd231ss Single true false false;
    Vfnmadd132sd Vfnmadd213sd Vfnmadd231sd Double true false false;
    Vfnmsub132ps Vfnmsub213ps Vfnmsub231ps Singles true true true;
    Vfnmsub132pd Vfnmsub213pd Vfnmsub231pd Doubles true true true;
    Vfnmsub132ss Vfnmsub213ss Vfnmsub231ss Single true true true;
    Vfnmsub132sd Vfnmsub213sd Vfnmsub231sd Double true true true;
    Vfmaddsub132ps Vfmaddsub213ps Vfmaddsub231ps Singles false true false;
    Vfmaddsub132pd Vfmaddsub213pd Vfmaddsub231pd Doubles false true false;
    Vfmsubadd132ps Vfmsubadd213ps Vfmsubadd231ps Singles false false true;
    Vfmsubadd132pd Vfmsubadd213pd Vfmsubadd231pd Doubles false false true;
}

macro_rules! lanes {
    ($f:ident, $t:ty) => {
        exec!(|cpu: &mut Cpu, op: &Op| compute_three(cpu, op, |c: &mut Context, operands, imm| {
            $f::<$t>(c, Fusion::from_bits(imm), operands)
        })) as Exec
    };
}

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    let Some((fusion, elements)) = fusion(t.insn.mnemonic()) else { return false };
    let exec = match elements {
        Elements::Singles => lanes!(fuse_lanes, u32),
        Elements::Doubles => lanes!(fuse_lanes, u64),
        Elements::Single => lanes!(fuse_lowest, u32),
        Elements::Double => lanes!(fuse_lowest, u64),
    };
    let lanes = if is_wide(t, 0) { 2 } else { 1 };
    // In the order of the mnemonics' digits: the destination 1, the middle operand 2, the last one 3.
    push_read(t, 2, Some(0), Some(1));
    push_operation(t, exec, lanes, fusion.bits().into(), 0);
    push_write(t, lanes);
    true
}
