//! An instruction that anybody may have written, behind an MMIO or port exit: decoded and done by the VMM.
#![no_main]

use std::convert::Infallible;

use fuzz::Choices;
use libfuzzer_sys::fuzz_target;
use vmm::x86_64::mmio::{
    CodeSize, CpuMode, EmulationError, Exception, GuestContext, MmioAccess, Outcome, PortAccess, Segment,
    SegmentState, Stop, emulate, emulate_port_io,
};
use vmm::x86_64::paging::Access;

/// RAM from address 0; behind it is a device.
const RAM: usize = 0x8000;
/// Linear addresses whose low 20 bits are from here on fault.
const FAULTS: u64 = 0xf_0000;
/// Where the instruction is.
const CODE: u64 = 0x1ff8;

#[derive(Clone, PartialEq, Debug)]
struct Cpu {
    mode: CpuMode,
    registers: [u64; 16],
    rip: u64,
    rflags: u64,
    segments: [SegmentState; 6],
    vectors: [u128; 16],
    ram: Vec<u8>,
    retired: u32,
}

impl GuestContext for Cpu {
    type Error = Infallible;

    fn mode(&mut self) -> Result<CpuMode, Infallible> {
        Ok(self.mode)
    }

    fn gpr(&mut self, number: u8) -> Result<u64, Infallible> {
        Ok(self.registers[usize::from(number)])
    }

    fn set_gpr(&mut self, number: u8, value: u64) -> Result<(), Infallible> {
        self.registers[usize::from(number)] = value;
        Ok(())
    }

    fn rip(&mut self) -> Result<u64, Infallible> {
        Ok(self.rip)
    }

    fn rflags(&mut self) -> Result<u64, Infallible> {
        Ok(self.rflags)
    }

    fn set_rflags(&mut self, value: u64) -> Result<(), Infallible> {
        self.rflags = value;
        Ok(())
    }

    fn segment(&mut self, segment: Segment) -> Result<SegmentState, Infallible> {
        Ok(self.segments[segment as usize])
    }

    fn translate(&mut self, linear: u64, _access: Access) -> Result<u64, Stop<Infallible>> {
        let low = linear & 0xf_ffff;
        if low >= FAULTS {
            return Err(Exception::page_fault(linear, 0).into());
        }
        Ok(low)
    }

    fn read_ram(&mut self, gpa: u64, buffer: &mut [u8]) -> bool {
        assert!(gpa % 4096 + buffer.len() as u64 <= 4096, "a read across pages");
        let Some(bytes) = range(gpa, buffer.len()).and_then(|range| self.ram.get(range)) else {
            return false;
        };
        buffer.copy_from_slice(bytes);
        true
    }

    fn write_ram(&mut self, gpa: u64, data: &[u8]) -> bool {
        assert!(gpa % 4096 + data.len() as u64 <= 4096, "a write across pages");
        let Some(bytes) = range(gpa, data.len()).and_then(|range| self.ram.get_mut(range)) else {
            return false;
        };
        bytes.copy_from_slice(data);
        true
    }

    fn xmm(&mut self, number: u8) -> Result<u128, Stop<Infallible>> {
        Ok(self.vectors[usize::from(number)])
    }

    fn set_xmm(&mut self, number: u8, value: u128) -> Result<(), Stop<Infallible>> {
        self.vectors[usize::from(number)] = value;
        Ok(())
    }

    fn retire(&mut self, rip: u64, _single_step: bool) -> Result<(), Infallible> {
        self.rip = rip;
        self.retired += 1;
        Ok(())
    }
}

fn range(gpa: u64, len: usize) -> Option<std::ops::Range<usize>> {
    let start = usize::try_from(gpa).ok()?;
    Some(start..start.checked_add(len)?)
}

/// Devices everywhere, which insist on what the emulator promises them.
struct Devices {
    accesses: u32,
}

impl Devices {
    fn access(&mut self, address: u64, width: u8, widths: &[u8]) -> u64 {
        assert!(widths.contains(&width), "a width of {width}");
        assert_eq!(address % u64::from(width), 0, "{width} bytes at {address:#x}");
        self.accesses += 1;
        address.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

impl MmioAccess for Devices {
    fn read(&mut self, gpa: u64, width: u8) -> u64 {
        self.access(gpa, width, &[1, 2, 4, 8])
    }

    fn write(&mut self, gpa: u64, width: u8, _value: u64) {
        self.access(gpa, width, &[1, 2, 4, 8]);
    }
}

struct Ports;

impl PortAccess for Ports {
    fn read(&mut self, port: u16, width: u8) -> u32 {
        assert!([1, 2, 4].contains(&width), "a width of {width}");
        u32::from(port).wrapping_mul(0x9e37_79b9)
    }

    fn write(&mut self, _port: u16, width: u8, _value: u32) {
        assert!([1, 2, 4].contains(&width), "a width of {width}");
    }
}

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let kind = choices.u8();
    let (code, protected) = match kind & 3 {
        0 => (CodeSize::Bits16, false),
        1 => (CodeSize::Bits16, true),
        2 => (CodeSize::Bits32, true),
        _ => (CodeSize::Bits64, true),
    };
    let flat = SegmentState { selector: 8, base: 0, limit: u32::MAX, rights: 0xa09b };
    let mut cpu = Cpu {
        mode: CpuMode { code, protected, linear_bits: if kind & 4 == 0 { 48 } else { 57 } },
        registers: [0; 16],
        rip: CODE,
        rflags: 2 | u64::from(choices.u16() & 0xfd5),
        segments: [flat; 6],
        vectors: [u128::from(choices.u64()); 16],
        ram: vec![0xcc; RAM],
        retired: 0,
    };
    for register in &mut cpu.registers {
        // Mostly addresses near where RAM ends and the device begins, with small counts among them.
        *register = match choices.u8() {
            byte @ 0..=0x3f => byte.into(),
            byte @ 0x40..=0xbf => u64::from(byte) * 0x100 + u64::from(choices.u8()),
            _ => choices.u64(),
        };
    }
    if kind & 8 != 0 {
        for segment in &mut cpu.segments {
            *segment = SegmentState {
                selector: choices.u16(),
                base: choices.u32().into(),
                limit: choices.u32(),
                rights: choices.u32() & 0x1_f0ff,
            };
        }
    }
    let ports = kind & 16 != 0;
    let instruction = choices.rest();
    let instruction = &instruction[..instruction.len().min(16)];
    cpu.ram[CODE as usize..CODE as usize + instruction.len()].copy_from_slice(instruction);

    let before = cpu.clone();
    let mut devices = Devices { accesses: 0 };
    let outcome = if ports {
        emulate_port_io(&mut cpu, &mut Ports, &mut devices)
    } else {
        emulate(&mut cpu, &mut devices)
    };
    match outcome {
        Ok(Outcome::Retired) => assert_eq!(cpu.retired, 1, "retired, but not once"),
        Ok(Outcome::Partial) => assert_eq!(cpu.rip, before.rip, "not retired, but moved on"),
        Ok(Outcome::Exception(exception)) => {
            assert!(exception.vector < 32, "{exception:?}");
            assert_eq!(cpu.rip, before.rip, "faulted, but moved on");
        }
        Err(EmulationError::Unsupported { .. }) => {
            assert_eq!(devices.accesses, 0, "not emulated, but a device was touched");
            assert!(cpu == before, "not emulated, but the guest has changed");
        }
        Err(EmulationError::Context(never)) => match never {},
    }
});
