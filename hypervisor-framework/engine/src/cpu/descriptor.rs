//! Segment descriptors and gates in memory (SDM vol. 3, 3.4.5 and 6.11).

use super::{Cpu, Trap, trap_vector as vector};
use crate::Segment;

/// An 8-byte descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Descriptor(pub(crate) u64);

impl Descriptor {
    pub(crate) fn base(self) -> u64 {
        self.0 >> 16 & 0xff_ffff | (self.0 >> 56) << 24
    }

    pub(crate) fn limit(self) -> u32 {
        let limit = (self.0 & 0xffff | self.0 >> 32 & 0xf_0000) as u32;
        if self.0 & 1 << 55 != 0 { limit << 12 | 0xfff } else { limit }
    }

    pub(crate) fn kind(self) -> u8 {
        (self.0 >> 40 & 0xf) as u8
    }

    /// A code or data segment rather than a system one.
    pub(crate) fn is_segment(self) -> bool {
        self.0 & 1 << 44 != 0
    }

    pub(crate) fn is_code(self) -> bool {
        self.is_segment() && self.kind() & 8 != 0
    }

    pub(crate) fn is_conforming(self) -> bool {
        self.is_code() && self.kind() & 4 != 0
    }

    pub(crate) fn is_writable_data(self) -> bool {
        self.is_segment() && self.kind() & 0xa == 2
    }

    pub(crate) fn is_readable(self) -> bool {
        self.is_segment() && (self.kind() & 8 == 0 || self.kind() & 2 != 0)
    }

    pub(crate) fn dpl(self) -> u8 {
        (self.0 >> 45 & 3) as u8
    }

    pub(crate) fn present(self) -> bool {
        self.0 & 1 << 47 != 0
    }

    pub(crate) fn long(self) -> bool {
        self.0 & 1 << 53 != 0
    }

    pub(crate) fn big(self) -> bool {
        self.0 & 1 << 54 != 0
    }

    /// The segment register it loads, with the accessed bit set.
    pub(crate) fn segment(self, selector: u16) -> Segment {
        let accessed = u32::from(self.is_segment());
        Segment {
            selector,
            base: self.base(),
            limit: self.limit(),
            access_rights: (self.0 >> 40 & 0xf0ff) as u32 | accessed,
        }
    }

    /// A gate's target selector.
    pub(crate) fn gate_selector(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// A gate's offset, without the upper half a 64-bit gate has.
    pub(crate) fn gate_offset(self) -> u64 {
        self.0 & 0xffff | self.0 >> 32 & 0xffff_0000
    }
}

impl Cpu {
    /// The linear address of a selector's descriptor, if its table has `size` bytes there.
    pub(crate) fn descriptor_address(&self, selector: u16, size: u32) -> Option<u64> {
        let offset = u32::from(selector & !7);
        let (base, limit) = if selector & 4 == 0 {
            (self.gdtr.base, u32::from(self.gdtr.limit))
        } else {
            let ldt = &self.segments[6];
            if !ldt.usable() {
                return None;
            }
            (ldt.base, ldt.limit)
        };
        (offset + size - 1 <= limit).then(|| base.wrapping_add(u64::from(offset)))
    }

    /// Reads a selector's descriptor; outside of its table is `#vector(selector)`.
    pub(crate) fn read_descriptor(&mut self, selector: u16, vector: u8) -> Result<Descriptor, Trap> {
        match self.descriptor_address(selector, 8) {
            Some(address) => Ok(Descriptor(self.load_system(address)?)),
            None => Err(self.selector_fault(vector, selector)),
        }
    }

    /// A fault whose error code is a selector.
    pub(crate) fn selector_fault(&mut self, vector: u8, selector: u16) -> Trap {
        self.fault_with(vector, u32::from(selector & !3))
    }

    /// Sets the accessed bit of a code or data descriptor in its table.
    pub(crate) fn mark_accessed(&mut self, selector: u16, descriptor: Descriptor) -> Result<(), Trap> {
        if descriptor.is_segment()
            && descriptor.kind() & 1 == 0
            && let Some(address) = self.descriptor_address(selector, 8)
        {
            self.update_system::<u8>(address.wrapping_add(5), |byte| byte | 1)?;
        }
        Ok(())
    }

    /// Checks and reads what SS would be loaded with for privilege level `cpl`; faults are `#vector`.
    pub(crate) fn stack_descriptor(&mut self, selector: u16, cpl: u8, fault: u8) -> Result<Segment, Trap> {
        if selector & !3 == 0 {
            return Err(self.fault_with(fault, 0));
        }
        let descriptor = self.read_descriptor(selector, fault)?;
        if (selector & 3) as u8 != cpl || descriptor.dpl() != cpl || !descriptor.is_writable_data() {
            return Err(self.selector_fault(fault, selector));
        }
        if !descriptor.present() {
            let not_present = if fault == vector::TS || fault == vector::GP { vector::SS } else { fault };
            return Err(self.selector_fault(not_present, selector));
        }
        self.mark_accessed(selector, descriptor)?;
        Ok(descriptor.segment(selector))
    }

    /// Stack pointers for a privilege level from a 16- or 32-bit TSS: SS and ESP.
    pub(crate) fn tss_stack(&mut self, cpl: u8) -> Result<(u16, u64), Trap> {
        let tss = self.segments[7];
        let wide = tss.kind() & 8 != 0;
        let (offset, size) = if wide { (4 + u32::from(cpl) * 8, 6) } else { (2 + u32::from(cpl) * 4, 4) };
        if offset + size - 1 > tss.limit {
            return Err(self.selector_fault(vector::TS, tss.selector));
        }
        let address = tss.base.wrapping_add(u64::from(offset));
        if wide {
            let pointer = u64::from(self.load_system::<u32>(address)?);
            Ok((self.load_system::<u16>(address.wrapping_add(4))?, pointer))
        } else {
            let pointer = u64::from(self.load_system::<u16>(address)?);
            Ok((self.load_system::<u16>(address.wrapping_add(2))?, pointer))
        }
    }

    /// A stack pointer from a 64-bit TSS: `index` 0–2 for RSP0–2, 4–10 (3 + IST) for IST1–7.
    pub(crate) fn tss_stack_64(&mut self, index: u32) -> Result<u64, Trap> {
        let tss = self.segments[7];
        let offset = 4 + index * 8;
        if offset + 7 > tss.limit {
            return Err(self.selector_fault(vector::TS, tss.selector));
        }
        let pointer = self.load_system::<u64>(tss.base.wrapping_add(u64::from(offset)))?;
        if !Self::canonical(pointer) {
            return Err(self.fault_with(vector::SS, 0));
        }
        Ok(pointer)
    }
}
