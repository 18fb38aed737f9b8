//! Multiple APIC description table (ACPI 6.5, 5.2.12).

use acpi_tables::Aml;
use acpi_tables::madt::{EnabledStatus, IoApic, ProcessorLocalApic};
use acpi_tables::sdt::Sdt;

use super::{AcpiConfig, IrqOverride, Polarity, Trigger, table};

const REVISION: u8 = 5;
/// The flag that a pair of 8259s must be masked before the APICs are used.
const PCAT_COMPAT: u32 = 1;
/// Interrupt source override.
const TYPE_OVERRIDE: u8 = 2;
/// Local APIC NMI.
const TYPE_LOCAL_NMI: u8 = 4;
/// Local x2APIC.
const TYPE_X2APIC: u8 = 9;
/// All processors, as the processor of a local NMI.
const ALL_PROCESSORS: u8 = 0xff;
/// APIC IDs from here on need the x2APIC structure; 0xff is the broadcast address.
const FIRST_X2APIC_ID: u32 = 0xff;

pub(super) fn madt(config: &AcpiConfig) -> Sdt {
    let mut entries: Vec<u8> = Vec::new();
    for (uid, apic_id) in (0_u32..).zip(&config.apic_ids) {
        local_apic(&mut entries, uid, *apic_id);
    }
    let io_apic = &config.io_apic;
    IoApic::new(io_apic.id, io_apic.address, io_apic.gsi_base).to_aml_bytes(&mut entries);
    for source in &config.irq_overrides {
        entries.extend([TYPE_OVERRIDE, 10, 0, source.isa_irq]);
        entries.extend(source.gsi.to_le_bytes());
        entries.extend(interrupt_flags(source).to_le_bytes());
    }
    // NMIs arrive at LINT1 of every local APIC, as on a PC.
    entries.extend([TYPE_LOCAL_NMI, 6, ALL_PROCESSORS, 0, 0, 1]);

    let mut madt = table(*b"APIC", REVISION);
    madt.append_slice(&config.local_apic.to_le_bytes());
    let flags = if config.has_8259 { PCAT_COMPAT } else { 0 };
    madt.append_slice(&flags.to_le_bytes());
    madt.append_slice(&entries);
    madt
}

fn local_apic(entries: &mut Vec<u8>, uid: u32, apic_id: u32) {
    match (u8::try_from(uid), u8::try_from(apic_id)) {
        (Ok(uid), Ok(id)) if apic_id < FIRST_X2APIC_ID && uid != ALL_PROCESSORS => {
            ProcessorLocalApic::new(uid, id, EnabledStatus::Enabled).to_aml_bytes(entries);
        }
        _ => {
            entries.extend([TYPE_X2APIC, 16, 0, 0]);
            entries.extend(apic_id.to_le_bytes());
            entries.extend((EnabledStatus::Enabled as u32).to_le_bytes());
            entries.extend(uid.to_le_bytes());
        }
    }
}

/// MPS INTI flags (table 5.26).
fn interrupt_flags(source: &IrqOverride) -> u16 {
    let polarity = match source.polarity {
        Polarity::High => 1,
        Polarity::Low => 3,
    };
    let trigger = match source.trigger {
        Trigger::Edge => 1,
        Trigger::Level => 3,
    };
    polarity | trigger << 2
}
