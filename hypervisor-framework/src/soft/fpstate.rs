//! `hv_vcpu_read_fpstate` and `hv_vcpu_write_fpstate`: a standard-format XSAVE image (SDM vol. 1, 13.4).

use engine::Cpu;

/// Legacy region and XSAVE header: the least an image has.
const MINIMUM: usize = 512 + 64;
/// XMM0 in the legacy region.
const XMM: usize = 160;
/// XSTATE_BV in the header.
const XSTATE_BV: usize = 512;
/// x87 and SSE state are in the image.
const X87_AND_SSE: u64 = 3;

/// Fills the image; `None` if the buffer is too small.
pub(super) fn read(cpu: &Cpu, buffer: &mut [u8]) -> Option<()> {
    if buffer.len() < MINIMUM {
        return None;
    }
    buffer.fill(0);
    for (number, bytes) in (0..16).zip(buffer.get_mut(XMM..XMM + 256)?.chunks_exact_mut(16)) {
        bytes.copy_from_slice(&cpu.xmm(number).to_le_bytes());
    }
    buffer.get_mut(XSTATE_BV..XSTATE_BV + 8)?.copy_from_slice(&X87_AND_SSE.to_le_bytes());
    Some(())
}

/// Loads the image; `None` if it is too small.
pub(super) fn write(cpu: &mut Cpu, buffer: &[u8]) -> Option<()> {
    if buffer.len() < MINIMUM {
        return None;
    }
    for (number, bytes) in (0..16).zip(buffer.get(XMM..XMM + 256)?.chunks_exact(16)) {
        cpu.set_xmm(number, u128::from_le_bytes(bytes.try_into().ok()?));
    }
    Some(())
}
