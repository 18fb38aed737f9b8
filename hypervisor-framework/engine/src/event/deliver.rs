//! Delivery of one event through the IDT (SDM vol. 3, 6.12 and 6.14; vol. 2, INT n).

use crate::cpu::control::efer;
use crate::cpu::descriptor::Descriptor;
use crate::cpu::flags::bit;
use crate::cpu::{Cpu, Stack, Trap, gpr, slot, trap_vector as vector};
use crate::{Event, EventKind, Reason, Segment, SegmentRegister, TaskSwitchSource};

/// Error code bit: the index is into the IDT.
const IDT: u32 = 2;

impl Cpu {
    /// Delivers an event; nothing has changed if it traps.
    pub(super) fn deliver(&mut self, event: &Event) -> Result<(), Trap> {
        if self.cr0 & crate::cpu::control::cr0::PE == 0 {
            return self.deliver_real(event);
        }
        if self.efer & efer::LMA != 0 { self.deliver_long(event) } else { self.deliver_protected(event) }
    }

    fn return_rip(&self, event: &Event) -> u64 {
        let program = matches!(
            event.kind,
            EventKind::SoftwareInterrupt
                | EventKind::SoftwareException
                | EventKind::PrivilegedSoftwareException
        );
        let rip = if program { self.rip.wrapping_add(u64::from(event.instruction_length)) } else { self.rip };
        if self.mode.is64() { rip } else { rip & 0xffff_ffff }
    }

    /// RFLAGS as pushed: faults set RF, so that an instruction breakpoint does not hit again.
    fn pushed_flags(&self, event: &Event) -> u64 {
        let fault = event.kind == EventKind::Exception && event.vector != vector::DB;
        self.flags.get() | if fault { bit::RF } else { 0 }
    }

    fn deliver_real(&mut self, event: &Event) -> Result<(), Trap> {
        let offset = u32::from(event.vector) * 4;
        if offset + 3 > u32::from(self.idtr.limit) {
            return Err(self.fault_with(vector::GP, offset * 2 + IDT));
        }
        let entry = self.load_system::<u32>(self.idtr.base.wrapping_add(u64::from(offset)))?;
        let mut stack = self.stack();
        let (flags, ip) = (self.flags.get(), self.return_rip(event));
        let selector = self.segments[1].selector;
        self.push_to(&mut stack, flags as u16)?;
        self.push_to(&mut stack, selector)?;
        self.push_to(&mut stack, ip as u16)?;
        self.set_stack_pointer(&stack);
        self.flags.system &= !(bit::IF | bit::TF | bit::AC | bit::RF);
        let cs = &mut self.segments[1];
        cs.selector = (entry >> 16) as u16;
        cs.base = u64::from(entry >> 16) << 4;
        self.rip = u64::from(entry & 0xffff);
        Ok(())
    }

    /// Reads the gate of a vector and checks what both modes check.
    fn gate(&mut self, event: &Event, size: u32) -> Result<Descriptor, Trap> {
        let offset = u32::from(event.vector) * size;
        let error = u32::from(event.vector) * 8 + IDT;
        if offset + size - 1 > u32::from(self.idtr.limit) {
            return Err(self.fault_with(vector::GP, error));
        }
        let gate = Descriptor(self.load_system(self.idtr.base.wrapping_add(u64::from(offset)))?);
        let known = match gate.kind() {
            0xe | 0xf => true,
            5..=7 => size == 8,
            _ => false,
        };
        let software = matches!(event.kind, EventKind::SoftwareInterrupt | EventKind::SoftwareException);
        if gate.is_segment() || !known || software && gate.dpl() < self.cpl {
            return Err(self.fault_with(vector::GP, error));
        }
        if !gate.present() {
            return Err(self.fault_with(vector::NP, error));
        }
        Ok(gate)
    }

    /// The handler's code segment and privilege level.
    fn handler(&mut self, selector: u16, long: bool) -> Result<(Descriptor, u8), Trap> {
        if selector & !3 == 0 {
            return Err(self.general_protection());
        }
        let code = self.read_descriptor(selector, vector::GP)?;
        let mode_ok = !long || code.long() && !code.big();
        if !code.is_code() || code.dpl() > self.cpl || !mode_ok {
            return Err(self.selector_fault(vector::GP, selector));
        }
        if !code.present() {
            return Err(self.selector_fault(vector::NP, selector));
        }
        let cpl = if code.is_conforming() { self.cpl } else { code.dpl() };
        Ok((code, cpl))
    }

    fn deliver_long(&mut self, event: &Event) -> Result<(), Trap> {
        let gate = self.gate(event, 16)?;
        let high_at = self.idtr.base.wrapping_add(u64::from(event.vector) * 16 + 8);
        let target = gate.gate_offset() | self.load_system::<u64>(high_at)? << 32;
        let ist = (gate.0 >> 32 & 7) as u32;
        let selector = gate.gate_selector();
        let (code, cpl) = self.handler(selector, true)?;
        let mut pointer = if ist != 0 {
            self.tss_stack_64(3 + ist)?
        } else if cpl < self.cpl {
            self.tss_stack_64(u32::from(cpl))?
        } else {
            self.regs[gpr::RSP as usize]
        };
        pointer &= !15;
        let ss = self.segments[2];
        let frame = [
            u64::from(ss.selector),
            self.regs[gpr::RSP as usize],
            self.pushed_flags(event),
            u64::from(self.segments[1].selector),
            self.return_rip(event),
        ];
        let new_ss = if cpl != self.cpl {
            Segment {
                access_rights: Segment::UNUSABLE | u32::from(cpl) << 5,
                ..Segment::null(u16::from(cpl))
            }
        } else {
            ss
        };
        let mut stack = Stack::long(pointer, new_ss);
        self.with_cpl(cpl, |cpu| {
            for value in frame {
                cpu.push_to(&mut stack, value)?;
            }
            if let Some(code) = event.error_code {
                cpu.push_to(&mut stack, u64::from(code))?;
            }
            Ok(())
        })?;
        if !Self::canonical(target) {
            return Err(self.general_protection());
        }
        self.mark_accessed(selector, code)?;
        self.enter_handler(selector, code, cpl, target, gate.kind() & 1 == 0);
        if cpl != new_ss.dpl() || new_ss.access_rights & Segment::UNUSABLE != 0 {
            self.segments[2] = new_ss;
        }
        self.set_stack_pointer(&stack);
        Ok(())
    }

    fn deliver_protected(&mut self, event: &Event) -> Result<(), Trap> {
        let virtual_8086 = self.flags.has(bit::VM);
        let iopl = (self.flags.system & bit::IOPL) >> 12;
        if virtual_8086 && event.kind == EventKind::SoftwareInterrupt && iopl < 3 {
            return Err(self.general_protection());
        }
        let gate = self.gate(event, 8)?;
        let selector = gate.gate_selector();
        if gate.kind() == 5 {
            return Err(self.leave(Reason::TaskSwitch { selector, source: TaskSwitchSource::IdtGate }));
        }
        let size = if gate.kind() & 8 != 0 { 4 } else { 2 };
        let (code, cpl) = self.handler(selector, false)?;
        if virtual_8086 && cpl != 0 {
            return Err(self.selector_fault(vector::GP, selector));
        }
        let target = if size == 4 { gate.gate_offset() } else { gate.gate_offset() & 0xffff };
        let old = self.segments;
        let old_pointer = self.regs[gpr::RSP as usize];
        let flags = self.pushed_flags(event);
        let rip = self.return_rip(event);
        let outer = cpl < self.cpl;
        let mut stack = if outer {
            let (ss, pointer) = self.tss_stack(cpl)?;
            let segment = self.stack_descriptor(ss, cpl, vector::TS)?;
            Stack::legacy(pointer, segment)
        } else {
            self.stack()
        };
        if target > u64::from(code.limit()) {
            return Err(self.general_protection());
        }
        self.with_cpl(cpl, |cpu| {
            if virtual_8086 {
                for register in
                    [SegmentRegister::Gs, SegmentRegister::Fs, SegmentRegister::Ds, SegmentRegister::Es]
                {
                    let value = u64::from(old[register as usize].selector);
                    cpu.push_sized(&mut stack, size, value)?;
                }
            }
            if outer {
                cpu.push_sized(&mut stack, size, u64::from(old[2].selector))?;
                cpu.push_sized(&mut stack, size, old_pointer)?;
            }
            cpu.push_sized(&mut stack, size, flags)?;
            cpu.push_sized(&mut stack, size, u64::from(old[1].selector))?;
            cpu.push_sized(&mut stack, size, rip)?;
            if let Some(code) = event.error_code {
                cpu.push_sized(&mut stack, size, u64::from(code))?;
            }
            Ok(())
        })?;
        self.mark_accessed(selector, code)?;
        if virtual_8086 {
            for register in
                [SegmentRegister::Gs, SegmentRegister::Fs, SegmentRegister::Ds, SegmentRegister::Es]
            {
                self.set_segment(register, Segment::null(0));
            }
        }
        if outer {
            self.segments[2] = stack.segment;
        }
        self.enter_handler(selector, code, cpl, target, gate.kind() & 1 == 0);
        self.set_stack_pointer(&stack);
        Ok(())
    }

    fn enter_handler(&mut self, selector: u16, code: Descriptor, cpl: u8, target: u64, interrupt_gate: bool) {
        self.segments[1] = code.segment(selector & !3 | u16::from(cpl));
        self.cpl = cpl;
        self.rip = target;
        self.flags.system &= !(bit::TF | bit::NT | bit::RF | bit::VM);
        if interrupt_gate {
            self.flags.system &= !bit::IF;
        }
        self.set_slot(slot::ADDRESS, 0);
    }

    /// Does something with the access rights of a privilege level.
    pub(crate) fn with_cpl<R>(
        &mut self,
        cpl: u8,
        action: impl FnOnce(&mut Self) -> Result<R, Trap>,
    ) -> Result<R, Trap> {
        let (old, space) = (self.cpl, self.mmu.space());
        if cpl != 3 && old == 3 {
            self.mmu.set_space(crate::mmu::Space::Supervisor);
        }
        self.cpl = cpl;
        let result = action(self);
        self.cpl = old;
        self.mmu.set_space(space);
        result
    }
}
