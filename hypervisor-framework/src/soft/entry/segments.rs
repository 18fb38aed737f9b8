//! Guest segment registers (SDM vol. 3, 27.3.1.2), for an unrestricted guest.

use engine::SegmentRegister as Register;

use super::registers::{CR0_PE, entry_controls};
use super::{Check, State, canonical, guest};
use crate::x86_64::vmcs::Field;
use crate::x86_64::{AccessRights, EntryControls, Segment};

const RFLAGS_VM: u64 = 1 << 17;
/// Access rights of every segment in virtual-8086 mode.
const VIRTUAL_8086_RIGHTS: u32 = 0xf3;

pub(super) fn check(state: &State) -> Check {
    let long = entry_controls(state).contains(EntryControls::GUEST_IA32E);
    check_tr(state, long)?;
    check_ldtr(state)?;
    check_bases(state)?;
    if state.get(Field::GUEST_RFLAGS) & RFLAGS_VM != 0 {
        return check_virtual_8086(state);
    }
    check_code(state, long)?;
    check_stack(state)?;
    for (register, segment) in [
        (Register::Ds, Segment::Ds),
        (Register::Es, Segment::Es),
        (Register::Fs, Segment::Fs),
        (Register::Gs, Segment::Gs),
    ] {
        let rights = state.rights(register);
        if !rights.is_unusable() {
            let field = segment.access_rights();
            guest(rights.kind() & 1 != 0, field, "a data segment is accessed")?;
            guest(
                rights.kind() & 8 == 0 || rights.kind() & 2 != 0,
                field,
                "code in a data segment register is readable",
            )?;
            guest(rights.is_code_or_data(), field, "S is 1")?;
            check_common(state, rights, segment)?;
        }
    }
    Ok(())
}

/// P, the reserved bits, and the granularity that the limit asks for.
fn check_common(state: &State, rights: AccessRights, segment: Segment) -> Check {
    let field = segment.access_rights();
    let limit = state.get(segment.limit());
    guest(rights.is_present(), field, "P is 1")?;
    guest(rights.0 & 0xfffe_0f00 == 0, field, "bits 31:17 and 11:8 are 0")?;
    guest(
        limit & 0xfff == 0xfff || !rights.is_page_granular(),
        field,
        "G is 0 if the limit's bits 11:0 are not all 1",
    )?;
    guest(limit >> 20 == 0 || rights.is_page_granular(), field, "G is 1 if the limit exceeds 20 bits")
}

fn check_code(state: &State, long: bool) -> Check {
    const FIELD: Field = Field::GUEST_CS_AR;
    let rights = state.rights(Register::Cs);
    let stack_dpl = state.rights(Register::Ss).dpl();
    guest(rights.is_code_or_data(), FIELD, "S is 1")?;
    let dpl = match rights.kind() {
        3 => guest(rights.dpl() == 0, FIELD, "DPL is 0 for a data type"),
        9 | 11 => guest(rights.dpl() == stack_dpl, FIELD, "DPL equals that of SS"),
        13 | 15 => guest(rights.dpl() <= stack_dpl, FIELD, "DPL is not above that of SS"),
        _ => guest(false, FIELD, "the type is 3, 9, 11, 13 or 15"),
    };
    dpl?;
    guest(!(long && rights.is_long() && rights.is_big()), FIELD, "not both L and D in IA-32e mode")?;
    check_common(state, rights, Segment::Cs)
}

fn check_stack(state: &State) -> Check {
    const FIELD: Field = Field::GUEST_SS_AR;
    let rights = state.rights(Register::Ss);
    let real = state.get(Field::GUEST_CR0) & CR0_PE == 0;
    let data_code = state.rights(Register::Cs).kind() == 3;
    guest(!(real || data_code) || rights.dpl() == 0, FIELD, "DPL is 0 without PE or with a data type in CS")?;
    if rights.is_unusable() {
        return Ok(());
    }
    guest(matches!(rights.kind(), 3 | 7), FIELD, "the type is 3 or 7")?;
    guest(rights.is_code_or_data(), FIELD, "S is 1")?;
    check_common(state, rights, Segment::Ss)
}

fn check_tr(state: &State, long: bool) -> Check {
    const FIELD: Field = Field::GUEST_TR_AR;
    let rights = state.rights(Register::Tr);
    guest(state.get(Field::GUEST_TR) & 4 == 0, Field::GUEST_TR, "TI is 0")?;
    guest(
        rights.kind() == 11 || rights.kind() == 3 && !long,
        FIELD,
        "a busy TSS: type 11, or 3 outside of IA-32e mode",
    )?;
    guest(!rights.is_code_or_data(), FIELD, "S is 0")?;
    guest(!rights.is_unusable(), FIELD, "is usable")?;
    check_common(state, rights, Segment::Tr)
}

fn check_ldtr(state: &State) -> Check {
    const FIELD: Field = Field::GUEST_LDTR_AR;
    let rights = state.rights(Register::Ldtr);
    if rights.is_unusable() {
        return Ok(());
    }
    guest(state.get(Field::GUEST_LDTR) & 4 == 0, Field::GUEST_LDTR, "TI is 0")?;
    guest(rights.kind() == 2, FIELD, "the type is 2")?;
    guest(!rights.is_code_or_data(), FIELD, "S is 0")?;
    check_common(state, rights, Segment::Ldtr)
}

fn check_bases(state: &State) -> Check {
    for field in [Field::GUEST_TR_BASE, Field::GUEST_FS_BASE, Field::GUEST_GS_BASE] {
        guest(canonical(state.get(field)), field, "is canonical")?;
    }
    if !state.rights(Register::Ldtr).is_unusable() {
        guest(canonical(state.get(Field::GUEST_LDTR_BASE)), Field::GUEST_LDTR_BASE, "is canonical")?;
    }
    guest(state.get(Field::GUEST_CS_BASE) >> 32 == 0, Field::GUEST_CS_BASE, "bits 63:32 are 0")?;
    for (register, field) in [
        (Register::Ss, Field::GUEST_SS_BASE),
        (Register::Ds, Field::GUEST_DS_BASE),
        (Register::Es, Field::GUEST_ES_BASE),
    ] {
        let unusable = state.rights(register).is_unusable();
        guest(unusable || state.get(field) >> 32 == 0, field, "bits 63:32 are 0")?;
    }
    Ok(())
}

fn check_virtual_8086(state: &State) -> Check {
    for segment in [Segment::Cs, Segment::Ss, Segment::Ds, Segment::Es, Segment::Fs, Segment::Gs] {
        let base = state.get(segment.selector()) << 4;
        guest(
            state.get(segment.base()) == base,
            segment.base(),
            "is the selector times 16 in virtual-8086 mode",
        )?;
        guest(state.get(segment.limit()) == 0xffff, segment.limit(), "is 0xffff in virtual-8086 mode")?;
        let rights = state.get(segment.access_rights()) as u32;
        guest(rights == VIRTUAL_8086_RIGHTS, segment.access_rights(), "is 0xf3 in virtual-8086 mode")?;
    }
    Ok(())
}
