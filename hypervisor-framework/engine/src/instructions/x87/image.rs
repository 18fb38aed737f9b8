//! The floating-point state as seen from outside: a standard-format XSAVE image (SDM vol. 1, 13.4).

use super::Fpu;
use super::legacy::{self, Pointers};
use super::xsave::{AREA, AVX, HEADER, SSE, UPPER, UPPER_SIZE, X87, load_upper, upper_image};
use crate::Level;
use crate::cpu::Cpu;

/// Why an XSAVE image was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum XsaveImageError {
    /// The buffer cannot hold the legacy region and the header.
    #[error("an XSAVE image has at least {needed} bytes, not {size}")]
    TooSmall {
        /// Bytes given.
        size: usize,
        /// Bytes needed.
        needed: usize,
    },
    /// XSTATE_BV names components there are not.
    #[error("XSTATE_BV {state:#x} names state components other than x87, SSE and AVX")]
    UnknownComponents {
        /// XSTATE_BV.
        state: u64,
    },
    /// The image is compacted, or bytes 16–23 of its header are not 0.
    #[error("bytes 8 to 23 of the XSAVE header are not 0: not a standard-format image")]
    NotStandard,
    /// MXCSR has bits set that do not exist.
    #[error("MXCSR {mxcsr:#x} has reserved bits set")]
    Mxcsr {
        /// MXCSR.
        mxcsr: u32,
    },
}

/// Where MXCSR is.
const MXCSR_AT: std::ops::Range<usize> = legacy::MXCSR..legacy::MXCSR + 4;

/// AVX state behind XSTATE_BV.
const UPPER_AT: std::ops::Range<usize> = HEADER - 8..HEADER - 8 + UPPER_SIZE;

impl Cpu {
    /// Bytes an image has at least.
    pub const XSAVE_IMAGE_SIZE: usize = AREA;

    /// Writes x87 and SSE state as a standard-format XSAVE image with 64-bit pointers: 576 bytes, and AVX state behind
    /// them if the CPU has it and the buffer its 832 bytes. The rest of the buffer becomes 0.
    ///
    /// # Errors
    /// [`XsaveImageError::TooSmall`].
    pub fn read_xsave_image(&self, buffer: &mut [u8]) -> Result<(), XsaveImageError> {
        let size = buffer.len();
        let Some((region, rest)) = buffer.split_first_chunk_mut::<{ legacy::SIZE }>() else {
            return Err(XsaveImageError::TooSmall { size, needed: AREA });
        };
        let Some((state, reserved)) = rest.split_first_chunk_mut::<8>() else {
            return Err(XsaveImageError::TooSmall { size, needed: AREA });
        };
        if reserved.len() < HEADER - 8 {
            return Err(XsaveImageError::TooSmall { size, needed: AREA });
        }
        *region = [0; legacy::SIZE];
        legacy::put_x87(region, &self.fpu, Pointers::Near);
        legacy::put_mxcsr(region, self.mxcsr);
        legacy::put_xmm(region, self, self.xmm.len());
        reserved.fill(0);
        let upper = if self.level >= Level::V3 { reserved.get_mut(UPPER_AT) } else { None };
        let avx = if upper.is_some() { AVX } else { 0 };
        *state = (X87 | SSE | avx).to_le_bytes();
        if let Some(place) = upper {
            place.copy_from_slice(&upper_image(self));
        }
        Ok(())
    }

    /// Loads x87, SSE and AVX state from a standard-format XSAVE image. Components that XSTATE_BV leaves out get their initial
    /// configuration; MXCSR is always loaded. Nothing is changed when an error is answered.
    ///
    /// # Errors
    /// See [`XsaveImageError`].
    pub fn write_xsave_image(&mut self, buffer: &[u8]) -> Result<(), XsaveImageError> {
        let too_small = XsaveImageError::TooSmall { size: buffer.len(), needed: AREA };
        let Some((region, rest)) = buffer.split_first_chunk::<{ legacy::SIZE }>() else {
            return Err(too_small);
        };
        let Some((header, _)) = rest.split_first_chunk::<HEADER>() else { return Err(too_small) };
        let Some((state, reserved)) = header.split_first_chunk::<8>() else { return Err(too_small) };
        let state = u64::from_le_bytes(*state);
        let known = if self.level >= Level::V3 { X87 | SSE | AVX } else { X87 | SSE };
        if state & !known != 0 {
            return Err(XsaveImageError::UnknownComponents { state });
        }
        let mut upper = [0; UPPER_SIZE];
        if state & AVX != 0 {
            let place = buffer.get(UPPER..UPPER + UPPER_SIZE);
            let needed = UPPER + UPPER_SIZE;
            upper.copy_from_slice(place.ok_or(XsaveImageError::TooSmall { size: buffer.len(), needed })?);
        }
        if reserved[..16].iter().any(|&byte| byte != 0) {
            return Err(XsaveImageError::NotStandard);
        }
        let Some(mxcsr) = legacy::get_mxcsr(region) else {
            let mut bytes = [0; 4];
            bytes.copy_from_slice(&region[MXCSR_AT]);
            return Err(XsaveImageError::Mxcsr { mxcsr: u32::from_le_bytes(bytes) });
        };
        self.fpu = Fpu::default();
        if state & X87 != 0 {
            legacy::get_x87(region, &mut self.fpu, Pointers::Near);
        }
        self.mxcsr = mxcsr;
        let all = self.xmm.len();
        if state & SSE != 0 {
            legacy::get_xmm(region, self, all);
        } else {
            self.xmm = [0; 16];
        }
        load_upper(self, &upper, all);
        Ok(())
    }
}
