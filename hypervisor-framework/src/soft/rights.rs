//! May a client write this value to this field?

use super::capability;
use crate::x86_64::vmcs::{Field, WriteRight};

/// `false` for a field without the right, or a value its rule forbids.
pub(super) fn may_write(field: Field, value: u64) -> bool {
    match field.write_right() {
        Some(WriteRight::Free) => true,
        Some(WriteRight::Checked(rule)) => {
            let value = value & field.width().mask();
            let (must, may) = capability::allowed(rule);
            value & must == must && value & !may == 0
        }
        Some(WriteRight::ReadOnly | WriteRight::Never) | None => false,
    }
}

/// `hv_vmx_vcpu_get_cap_write_vmcs`: (bits that must be 1, bits that may be 1); `None` for a field without the right.
pub(super) fn write_capability(field: Field) -> Option<(u64, u64)> {
    match field.write_right()? {
        WriteRight::Free => Some((0, field.width().mask())),
        WriteRight::Checked(rule) => Some(capability::allowed(rule)),
        WriteRight::ReadOnly | WriteRight::Never => None,
    }
}
