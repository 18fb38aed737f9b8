//! MOVS, STOS, LODS, CMPS, SCAS, INS, OUTS, with or without REP.

use iced_x86::Mnemonic;

use super::super::MAX_ITERATIONS;
use super::super::address::{Window, offset_mask};
use super::super::context::{GuestContext, PortAccess, Segment};
use super::super::emulation::{Done, Emulation};
use super::super::error::{Stop, Unsupported};
use super::super::flags::{self, DF, ZF};
use super::super::memory::{Located, PageMemo};
use super::super::operand::{GprPart, width_mask};
use crate::x86_64::paging::Access;

const RCX: u8 = 1;
const RSI: u8 = 6;
const RDI: u8 = 7;
/// RFLAGS.TF: a trap after every iteration.
const TRAP: u64 = 1 << 8;

/// What one iteration does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Movs,
    Stos,
    Lods,
    Cmps,
    Scas,
    Ins(u16),
    Outs(u16),
}

/// One side's pointer.
struct Pointer {
    register: u8,
    window: Window,
    /// The register's whole value.
    value: u64,
    memo: PageMemo,
}

/// A string instruction under way.
struct Strings {
    kind: Kind,
    width: u8,
    /// Added to the pointers after each iteration, two's complement.
    step: u64,
    /// Of the address size: pointers and count wrap within it.
    mask: u64,
    source: Option<Pointer>,
    target: Option<Pointer>,
}

/// What one iteration says of the next.
#[derive(PartialEq, Eq)]
enum Verdict {
    GoOn,
    /// REPE or REPNE: the condition has failed.
    Found,
}

impl<C: GuestContext> Emulation<'_, C> {
    /// MOVS, STOS, LODS, CMPS, SCAS.
    pub(super) fn string(&mut self) -> Result<Done, Stop<C::Error>> {
        let (kind, width) = match self.instruction.mnemonic() {
            Mnemonic::Movsb => (Kind::Movs, 1),
            Mnemonic::Movsw => (Kind::Movs, 2),
            Mnemonic::Movsd => (Kind::Movs, 4),
            Mnemonic::Movsq => (Kind::Movs, 8),
            Mnemonic::Stosb => (Kind::Stos, 1),
            Mnemonic::Stosw => (Kind::Stos, 2),
            Mnemonic::Stosd => (Kind::Stos, 4),
            Mnemonic::Stosq => (Kind::Stos, 8),
            Mnemonic::Lodsb => (Kind::Lods, 1),
            Mnemonic::Lodsw => (Kind::Lods, 2),
            Mnemonic::Lodsd => (Kind::Lods, 4),
            Mnemonic::Lodsq => (Kind::Lods, 8),
            Mnemonic::Cmpsb => (Kind::Cmps, 1),
            Mnemonic::Cmpsw => (Kind::Cmps, 2),
            Mnemonic::Cmpsd => (Kind::Cmps, 4),
            Mnemonic::Cmpsq => (Kind::Cmps, 8),
            Mnemonic::Scasb => (Kind::Scas, 1),
            Mnemonic::Scasw => (Kind::Scas, 2),
            Mnemonic::Scasd => (Kind::Scas, 4),
            Mnemonic::Scasq => (Kind::Scas, 8),
            _ => return Err(Unsupported::Instruction.into()),
        };
        self.iterate(kind, width, &mut NoPorts)
    }

    /// Does up to [`MAX_ITERATIONS`] iterations and writes count and pointers back, also before a fault.
    pub(super) fn iterate(
        &mut self,
        kind: Kind,
        width: u8,
        ports: &mut dyn PortAccess,
    ) -> Result<Done, Stop<C::Error>> {
        let before = self.rflags;
        let size = (0..self.instruction.op_count()).find_map(|index| self.string_address_size(index));
        let mask = offset_mask(size.ok_or(Unsupported::Instruction)?);
        let step = if self.rflags & DF != 0 { 0_u64.wrapping_sub(width.into()) } else { width.into() };
        let reads = matches!(kind, Kind::Movs | Kind::Lods | Kind::Cmps | Kind::Outs(_));
        let writes = matches!(kind, Kind::Movs | Kind::Stos | Kind::Cmps | Kind::Scas | Kind::Ins(_));
        let source = if reads { Some(self.pointer(RSI, self.memory_segment()?)?) } else { None };
        let target = if writes { Some(self.pointer(RDI, Segment::Es)?) } else { None };
        let mut strings = Strings { kind, width, step, mask, source, target };

        let repeated = self.instruction.has_rep_prefix() || self.instruction.has_repne_prefix();
        let rcx = if repeated { self.context.gpr(RCX).map_err(Stop::Context)? } else { 1 };
        let limit = if self.rflags & TRAP != 0 { 1 } else { MAX_ITERATIONS };
        let mut left = rcx & mask;
        let mut done = 0;
        let mut found = false;
        let mut stop = None;
        while left > 0 && done < limit && !found {
            match self.iteration(&mut strings, ports) {
                Ok(verdict) => found = verdict == Verdict::Found,
                Err(error) => {
                    stop = Some(error);
                    break;
                }
            }
            left -= 1;
            done += 1;
        }
        if done > 0 {
            if repeated {
                self.write_address_register(RCX, rcx, left, mask)?;
            }
            for pointer in [&strings.source, &strings.target].into_iter().flatten() {
                self.write_address_register(pointer.register, pointer.value, pointer.value, mask)?;
            }
        }
        match stop {
            // What was done stays done; the rest comes back, and is reported then if it is an error.
            Some(Stop::Unsupported(_) | Stop::Context(_) | Stop::Retry) if done > 0 => Ok(Done::Repeat),
            Some(stop) => {
                self.commit_flags(before)?;
                Err(stop)
            }
            None if repeated && left > 0 && !found => Ok(Done::Repeat),
            None => Ok(Done::Complete),
        }
    }

    fn pointer(&mut self, register: u8, segment: Segment) -> Result<Pointer, Stop<C::Error>> {
        let window = self.window(segment)?;
        let value = self.context.gpr(register).map_err(Stop::Context)?;
        Ok(Pointer { register, window, value, memo: PageMemo::default() })
    }

    /// Writes an address-sized register: 16 bits are merged, 32 bits clear the upper half.
    fn write_address_register(
        &mut self,
        register: u8,
        old: u64,
        new: u64,
        mask: u64,
    ) -> Result<(), Stop<C::Error>> {
        let kept = if mask == 0xffff { old & !mask } else { 0 };
        self.context.set_gpr(register, kept | new & mask).map_err(Stop::Context)
    }

    fn find(
        &mut self,
        strings: &mut Strings,
        target: bool,
        access: Access,
    ) -> Result<Located, Stop<C::Error>> {
        let (mask, width) = (strings.mask, strings.width);
        let side = if target { &mut strings.target } else { &mut strings.source };
        let pointer = side.as_mut().ok_or(Unsupported::Instruction)?;
        self.locate_with(&pointer.window, pointer.value & mask, width.into(), access, &mut pointer.memo)
    }

    fn iteration(
        &mut self,
        strings: &mut Strings,
        ports: &mut dyn PortAccess,
    ) -> Result<Verdict, Stop<C::Error>> {
        let width = strings.width;
        let accumulator = GprPart::accumulator(width);
        let mut compared = false;
        match strings.kind {
            Kind::Movs => {
                let source = self.find(strings, false, Access::Read)?;
                let target = self.find(strings, true, Access::Write)?;
                let value = self.load(&source);
                self.store(&target, value);
            }
            Kind::Stos => {
                let target = self.find(strings, true, Access::Write)?;
                let value = self.get_part(accumulator)?;
                self.store(&target, value.into());
            }
            Kind::Lods => {
                let source = self.find(strings, false, Access::Read)?;
                let value = self.load(&source) as u64;
                self.put_part(accumulator, value)?;
            }
            Kind::Cmps => {
                let first = self.find(strings, false, Access::Read)?;
                let second = self.find(strings, true, Access::Read)?;
                let (a, b) = (self.load(&first) as u64, self.load(&second) as u64);
                self.set_status(flags::subtract(a, b, false, width).flags);
                compared = true;
            }
            Kind::Scas => {
                let second = self.find(strings, true, Access::Read)?;
                let (a, b) = (self.get_part(accumulator)?, self.load(&second) as u64);
                self.set_status(flags::subtract(a, b, false, width).flags);
                compared = true;
            }
            Kind::Ins(port) => {
                let target = self.find(strings, true, Access::Write)?;
                let value = u64::from(ports.read(port, width)) & width_mask(width);
                self.store(&target, value.into());
            }
            Kind::Outs(port) => {
                let source = self.find(strings, false, Access::Read)?;
                let value = self.load(&source) as u32;
                ports.write(port, width, value);
            }
        }
        let (step, mask) = (strings.step, strings.mask);
        for pointer in [&mut strings.source, &mut strings.target].into_iter().flatten() {
            pointer.value = pointer.value & !mask | pointer.value.wrapping_add(step) & mask;
        }
        let wanted = if self.instruction.has_repne_prefix() { 0 } else { ZF };
        Ok(if compared && self.rflags & ZF != wanted { Verdict::Found } else { Verdict::GoOn })
    }
}

/// Stands in where an instruction has no port.
struct NoPorts;

impl PortAccess for NoPorts {
    fn read(&mut self, _port: u16, _width: u8) -> u32 {
        u32::MAX
    }

    fn write(&mut self, _port: u16, _width: u8, _value: u32) {}
}
