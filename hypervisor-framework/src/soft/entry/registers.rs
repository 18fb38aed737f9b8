//! Guest control registers, debug registers, MSRs, descriptor tables and PDPTEs (SDM vol. 3, 27.3.1.1, .3 and .6).

use super::{Check, Kind, Refusal, State, canonical, guest};
use crate::soft::capability::{CR4_FIXED0, CR4_FIXED1};
use crate::x86_64::EntryControls;
use crate::x86_64::vmcs::Field;

pub(super) const CR0_PE: u64 = 1 << 0;
const CR0_NE: u64 = 1 << 5;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const CR4_PCIDE: u64 = 1 << 17;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;
const EFER_DEFINED: u64 = 1 | EFER_LME | EFER_LMA | 1 << 11;

pub(super) fn entry_controls(state: &State) -> EntryControls {
    EntryControls::from_bits_retain(state.get(Field::CTRL_VMENTRY_CONTROLS) as u32)
}

pub(super) fn check(state: &State) -> Check {
    let cr0 = state.get(Field::GUEST_CR0);
    let cr4 = state.get(Field::GUEST_CR4);
    let entry = entry_controls(state);
    let long = entry.contains(EntryControls::GUEST_IA32E);
    let paging = cr0 & CR0_PG != 0;

    guest(cr0 & CR0_NE != 0, Field::GUEST_CR0, "NE is 1")?;
    guest(cr0 >> 32 == 0, Field::GUEST_CR0, "bits 63:32 are 0")?;
    guest(!paging || cr0 & CR0_PE != 0, Field::GUEST_CR0, "PG needs PE")?;
    guest(cr4 & CR4_FIXED0 == CR4_FIXED0, Field::GUEST_CR4, "VMXE is 1")?;
    guest(cr4 & !CR4_FIXED1 == 0, Field::GUEST_CR4, "no bit the processor lacks")?;
    guest(!long || paging, Field::GUEST_CR0, "IA-32e mode needs PG")?;
    guest(!long || cr4 & CR4_PAE != 0, Field::GUEST_CR4, "IA-32e mode needs PAE")?;
    guest(long || cr4 & CR4_PCIDE == 0, Field::GUEST_CR4, "PCIDE needs IA-32e mode")?;
    let cr3 = state.get(Field::GUEST_CR3);
    guest(
        cr3 >> engine::PHYSICAL_ADDRESS_BITS == 0,
        Field::GUEST_CR3,
        "no bit beyond the physical address width",
    )?;

    if entry.contains(EntryControls::LOAD_DEBUG) {
        guest(state.get(Field::GUEST_DR7) >> 32 == 0, Field::GUEST_DR7, "bits 63:32 are 0")?;
        guest(
            state.get(Field::GUEST_IA32_DEBUGCTL) & !0xffc3 == 0,
            Field::GUEST_IA32_DEBUGCTL,
            "no reserved bit",
        )?;
    }
    if entry.contains(EntryControls::LOAD_EFER) {
        check_efer(state.get(Field::GUEST_IA32_EFER), long, paging)?;
    }
    for field in
        [Field::GUEST_SYSENTER_ESP, Field::GUEST_SYSENTER_EIP, Field::GUEST_GDTR_BASE, Field::GUEST_IDTR_BASE]
    {
        guest(canonical(state.get(field)), field, "is canonical")?;
    }
    for field in [Field::GUEST_GDTR_LIMIT, Field::GUEST_IDTR_LIMIT] {
        guest(state.get(field) >> 16 == 0, field, "bits 31:16 are 0")?;
    }
    let link = Field::GUEST_LINK_POINTER;
    if state.get(link) == u64::MAX {
        Ok(())
    } else {
        Err(Refusal { kind: Kind::GuestState(4), field: link, rule: "is all ones" })
    }
}

fn check_efer(efer: u64, long: bool, paging: bool) -> Check {
    const FIELD: Field = Field::GUEST_IA32_EFER;
    guest(efer & !EFER_DEFINED == 0, FIELD, "no reserved bit")?;
    let active = efer & EFER_LMA != 0;
    guest(active == long, FIELD, "LMA equals the entry control \"IA-32e mode guest\"")?;
    guest(!paging || active == (efer & EFER_LME != 0), FIELD, "LMA equals LME when PG is 1")
}

/// The PDPTEs, which matter under PAE paging only.
pub(super) fn check_pdptes(state: &State) -> Check {
    let pae = state.get(Field::GUEST_CR0) & CR0_PG != 0
        && state.get(Field::GUEST_CR4) & CR4_PAE != 0
        && !entry_controls(state).contains(EntryControls::GUEST_IA32E);
    if !pae {
        return Ok(());
    }
    let reserved = 0x1e6 | !((1_u64 << engine::PHYSICAL_ADDRESS_BITS) - 1);
    for field in [Field::GUEST_PDPTE0, Field::GUEST_PDPTE1, Field::GUEST_PDPTE2, Field::GUEST_PDPTE3] {
        let pdpte = state.get(field);
        if pdpte & 1 != 0 && pdpte & reserved != 0 {
            return Err(Refusal {
                kind: Kind::GuestState(2),
                field,
                rule: "no reserved bit in a present PDPTE",
            });
        }
    }
    Ok(())
}
