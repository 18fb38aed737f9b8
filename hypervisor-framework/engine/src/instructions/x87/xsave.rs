//! The XSAVE feature set (SDM vol. 1, chapter 13). The state components are x87, SSE and AVX.

use iced_x86::Mnemonic;

use super::Fpu;
use super::fxsave::{load_blocks, store_blocks};
use super::legacy::{self, Pointers};
use crate::block::{Op, Translator, exec};
use crate::cpu::control::{cr0, cr4};
use crate::cpu::{Cpu, Trap, gpr, trap_vector as vector};
use crate::exit::Reason;

/// State component 0.
pub(super) const X87: u64 = 1 << 0;
/// State component 1: the XMM registers (MXCSR goes with it).
pub(super) const SSE: u64 = 1 << 1;
/// State component 2: the upper halves of the YMM registers.
pub(super) const AVX: u64 = 1 << 2;
/// Bit 63 of XCOMP_BV: the area is in compacted format.
const COMPACTED: u64 = 1 << 63;
/// Bytes of the header behind the legacy region.
pub(super) const HEADER: usize = 64;
/// Bytes of an area with x87 and SSE state.
pub(super) const AREA: usize = legacy::SIZE + HEADER;
/// Offset of AVX state, in both formats as no component lies before it; and its bytes.
pub(super) const UPPER: usize = AREA;
pub(super) const UPPER_SIZE: usize = 16 * 16;
/// Areas are aligned to this.
const ALIGNMENT: u64 = 64;
/// MXCSR after reset.
pub(super) const MXCSR_INITIAL: u32 = 0x1f80;

/// The saving instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Save {
    /// XSAVE
    Plain,
    /// XSAVEOPT
    Optimised,
    /// XSAVEC
    Compacted,
    /// XSAVES
    Supervisor,
}

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    let exec = match t.insn.mnemonic() {
        Mnemonic::Xgetbv => {
            let op = t.op(exec!(get_extended_control));
            t.push(op);
            return true;
        }
        Mnemonic::Xsetbv => {
            let op = t.op(exec!(set_extended_control));
            t.push_end(op);
            return true;
        }
        Mnemonic::Xsave => exec!(|c: &mut Cpu, op: &Op| save(c, op, Save::Plain, Pointers::Far)),
        Mnemonic::Xsave64 => exec!(|c: &mut Cpu, op: &Op| save(c, op, Save::Plain, Pointers::Near)),
        Mnemonic::Xsaveopt => exec!(|c: &mut Cpu, op: &Op| save(c, op, Save::Optimised, Pointers::Far)),
        Mnemonic::Xsaveopt64 => exec!(|c: &mut Cpu, op: &Op| save(c, op, Save::Optimised, Pointers::Near)),
        Mnemonic::Xsavec => exec!(|c: &mut Cpu, op: &Op| save(c, op, Save::Compacted, Pointers::Far)),
        Mnemonic::Xsavec64 => exec!(|c: &mut Cpu, op: &Op| save(c, op, Save::Compacted, Pointers::Near)),
        Mnemonic::Xsaves => exec!(|c: &mut Cpu, op: &Op| save(c, op, Save::Supervisor, Pointers::Far)),
        Mnemonic::Xsaves64 => exec!(|c: &mut Cpu, op: &Op| save(c, op, Save::Supervisor, Pointers::Near)),
        Mnemonic::Xrstor => exec!(|c: &mut Cpu, op: &Op| restore(c, op, false, Pointers::Far)),
        Mnemonic::Xrstor64 => exec!(|c: &mut Cpu, op: &Op| restore(c, op, false, Pointers::Near)),
        Mnemonic::Xrstors => exec!(|c: &mut Cpu, op: &Op| restore(c, op, true, Pointers::Far)),
        Mnemonic::Xrstors64 => exec!(|c: &mut Cpu, op: &Op| restore(c, op, true, Pointers::Near)),
        _ => return false,
    };
    let mut op = t.op(exec);
    t.memory(&mut op);
    t.push(op);
    true
}

/// The instruction's requested-feature bitmap's part in EDX:EAX.
fn requested(cpu: &Cpu) -> u64 {
    u64::from(cpu.reg::<u32>(gpr::RDX)) << 32 | u64::from(cpu.reg::<u32>(gpr::RAX))
}

/// Components that are not in their initial configuration (XINUSE).
fn in_use(cpu: &Cpu) -> u64 {
    let x87 = if cpu.fpu.is_initial() { 0 } else { X87 };
    let xmm = cpu.xmm.iter().take(legacy::xmm_count(cpu)).any(|&value| value != 0);
    let upper = cpu.ymm_upper.iter().take(legacy::xmm_count(cpu)).any(|&value| value != 0);
    x87 | if xmm { SSE } else { 0 } | if upper { AVX } else { 0 }
}

fn enabled(cpu: &mut Cpu) -> Result<(), Trap> {
    if cpu.cr4 & cr4::OSXSAVE == 0 { Err(cpu.undefined()) } else { Ok(()) }
}

/// What comes before any access: #UD, #NM, #GP.
fn check(cpu: &mut Cpu, op: &Op, supervisor: bool) -> Result<u64, Trap> {
    enabled(cpu)?;
    if supervisor && !cpu.intercepts.controls.contains(crate::Controls::ENABLE_XSAVES) {
        return Err(cpu.undefined());
    }
    if cpu.cr0 & cr0::TS != 0 {
        return Err(cpu.fault(vector::NM));
    }
    let address = cpu.address(op);
    if supervisor && cpu.cpl != 0 || !address.is_multiple_of(ALIGNMENT) {
        return Err(cpu.general_protection());
    }
    Ok(address)
}

fn at(cpu: &Cpu, address: u64, offset: usize) -> u64 {
    cpu.wrap(address.wrapping_add(offset as u64))
}

fn save(cpu: &mut Cpu, op: &Op, kind: Save, format: Pointers) -> Result<(), Trap> {
    let address = check(cpu, op, kind == Save::Supervisor)?;
    let supervisor = if kind == Save::Supervisor { cpu.msrs.xss } else { 0 };
    let features = (cpu.xcr0 | supervisor) & requested(cpu);
    let compacted = matches!(kind, Save::Compacted | Save::Supervisor);
    let mut used = in_use(cpu);
    if kind != Save::Plain && cpu.mxcsr != MXCSR_INITIAL {
        // MXCSR is not part of the component, but is saved with it.
        used |= SSE;
    }
    let written = if kind == Save::Plain { features } else { features & used };
    let size = if written & AVX != 0 { UPPER + 16 * legacy::xmm_count(cpu) } else { AREA };
    cpu.probe_write(address, size)?;

    let header = at(cpu, address, legacy::SIZE);
    let state = if compacted { 0 } else { cpu.load::<u64>(header)? & !features };
    let mut image = [0; legacy::SIZE];
    if written & X87 != 0 {
        legacy::put_x87(&mut image, &cpu.fpu, format);
        store_blocks(cpu, address, &image[..legacy::MXCSR])?;
        let registers = at(cpu, address, legacy::MXCSR + 8);
        store_blocks(cpu, registers, &image[legacy::MXCSR + 8..legacy::XMM])?;
    }
    let mxcsr = if compacted { written & SSE } else { features & (SSE | AVX) };
    if mxcsr != 0 {
        legacy::put_mxcsr(&mut image, cpu.mxcsr);
        let place = at(cpu, address, legacy::MXCSR);
        store_blocks(cpu, place, &image[legacy::MXCSR..legacy::MXCSR + 8])?;
    }
    if written & SSE != 0 {
        let count = legacy::xmm_count(cpu);
        legacy::put_xmm(&mut image, cpu, count);
        let place = at(cpu, address, legacy::XMM);
        store_blocks(cpu, place, &image[legacy::XMM..legacy::XMM + 16 * count])?;
    }
    if written & AVX != 0 {
        let upper = upper_image(cpu);
        let place = at(cpu, address, UPPER);
        store_blocks(cpu, place, &upper[..16 * legacy::xmm_count(cpu)])?;
    }
    cpu.store(header, state | features & used)?;
    if compacted {
        let place = at(cpu, header, 8);
        cpu.store(place, COMPACTED | features)?;
    }
    Ok(())
}

/// AVX state as saved: the upper halves, by number.
pub(super) fn upper_image(cpu: &Cpu) -> [u8; UPPER_SIZE] {
    let mut image = [0; UPPER_SIZE];
    for (place, value) in image.as_chunks_mut::<16>().0.iter_mut().zip(&cpu.ymm_upper) {
        *place = value.to_le_bytes();
    }
    image
}

/// Takes the first `count` upper halves.
pub(super) fn load_upper(cpu: &mut Cpu, image: &[u8; UPPER_SIZE], count: usize) {
    for (value, place) in cpu.ymm_upper.iter_mut().take(count).zip(image.as_chunks::<16>().0) {
        *value = u128::from_le_bytes(*place);
    }
}

/// The header of an area (SDM vol. 1, 13.4.2).
struct Header {
    /// XSTATE_BV
    state: u64,
    /// XCOMP_BV
    compaction: u64,
    /// The rest.
    reserved: [u64; HEADER / 8 - 2],
}

impl Header {
    fn of(words: &[u64; HEADER / 8]) -> Self {
        let [state, compaction, reserved @ ..] = *words;
        Self { state, compaction, reserved }
    }

    fn compacted(&self) -> bool {
        self.compaction & COMPACTED != 0
    }

    /// May XRSTOR (or XRSTORS) load it when these components are enabled?
    fn valid(&self, enabled: u64, supervisor: bool) -> bool {
        let subset = |bits: u64, of: u64| bits & !of == 0;
        if self.compacted() {
            let components = self.compaction & !COMPACTED;
            subset(components, enabled) && subset(self.state, components) && self.reserved == [0; _]
        } else {
            // Of the reserved bytes only 16 to 23 are looked at.
            let clear = self.compaction == 0 && self.reserved[0] == 0;
            !supervisor && subset(self.state, enabled) && clear
        }
    }
}

fn restore(cpu: &mut Cpu, op: &Op, supervisor: bool, format: Pointers) -> Result<(), Trap> {
    let address = check(cpu, op, supervisor)?;
    let enabled = cpu.xcr0 | if supervisor { cpu.msrs.xss } else { 0 };
    let features = enabled & requested(cpu);
    let mut words = [0; HEADER / 8];
    let place = at(cpu, address, legacy::SIZE);
    for (i, word) in words.iter_mut().enumerate() {
        *word = cpu.load(at(cpu, place, 8 * i))?;
    }
    let header = Header::of(&words);
    if !header.valid(enabled, supervisor) {
        return Err(cpu.general_protection());
    }
    // All loads and checks come before the first change.
    let loaded = features & header.state;
    let mut image = [0; legacy::SIZE];
    if loaded & X87 != 0 {
        load_blocks(cpu, address, &mut image[..legacy::XMM])?;
    }
    // In standard format MXCSR is loaded even where the registers are initialised.
    let loads_mxcsr = if header.compacted() { loaded & SSE } else { features & (SSE | AVX) } != 0;
    if loads_mxcsr {
        let place = at(cpu, address, legacy::MXCSR);
        load_blocks(cpu, place, &mut image[legacy::MXCSR..legacy::MXCSR + 8])?;
    }
    let mxcsr = if loads_mxcsr { legacy::get_mxcsr(&image) } else { Some(MXCSR_INITIAL) };
    let Some(mxcsr) = mxcsr else {
        return Err(cpu.general_protection());
    };
    let count = legacy::xmm_count(cpu);
    if loaded & SSE != 0 {
        let place = at(cpu, address, legacy::XMM);
        load_blocks(cpu, place, &mut image[legacy::XMM..legacy::XMM + 16 * count])?;
    }
    let mut upper = [0; UPPER_SIZE];
    if loaded & AVX != 0 {
        let place = at(cpu, address, UPPER);
        load_blocks(cpu, place, &mut upper[..16 * count])?;
    }
    if features & X87 != 0 {
        if loaded & X87 != 0 {
            legacy::get_x87(&image, &mut cpu.fpu, format);
        } else {
            cpu.fpu = Fpu::default();
        }
    }
    if features & SSE != 0 || loads_mxcsr {
        cpu.mxcsr = mxcsr;
    }
    // Zeros where a component is not loaded.
    if features & SSE != 0 {
        legacy::get_xmm(&image, cpu, count);
    }
    if features & AVX != 0 {
        load_upper(cpu, &upper, count);
    }
    Ok(())
}

/// XGETBV: XCR0, and with ECX = 1 what of it is in use.
fn get_extended_control(cpu: &mut Cpu, _op: &Op) -> Result<(), Trap> {
    enabled(cpu)?;
    let value = match cpu.reg::<u32>(gpr::RCX) {
        0 => cpu.xcr0,
        1 => cpu.xcr0 & in_use(cpu),
        _ => return Err(cpu.general_protection()),
    };
    cpu.set_reg(gpr::RAX, value as u32);
    cpu.set_reg(gpr::RDX, (value >> 32) as u32);
    Ok(())
}

/// XSETBV always exits, unless it faults for the mode or privilege it runs in.
fn set_extended_control(cpu: &mut Cpu, _op: &Op) -> Result<(), Trap> {
    enabled(cpu)?;
    if cpu.cpl != 0 {
        return Err(cpu.general_protection());
    }
    Err(cpu.leave(Reason::Xsetbv))
}
