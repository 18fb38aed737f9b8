use super::*;

fn msi(address: u64, data: u32) -> Option<InterruptMessage> {
    MsiMessage { address, data }.decode()
}

#[test]
fn msi_fields_are_found() {
    let message = msi(0xfee0_300c, 0x4951).unwrap();

    assert_eq!(message.destination, Destination::Logical(3));
    assert_eq!(message.mode, DeliveryMode::LowestPriority);
    assert_eq!(message.vector, 0x51);
    assert_eq!(message.trigger, Trigger::Edge);
}

#[test]
fn a_level_msi_asserts_only_with_bit_14() {
    assert_eq!(msi(0xfee0_0000, 0xc030).map(|m| m.trigger), Some(Trigger::Level));
    assert_eq!(msi(0xfee0_0000, 0x8030), None);
}

#[test]
fn physical_ff_is_broadcast_and_logical_ff_is_a_mask() {
    assert_eq!(msi(0xfeef_f000, 0x30).unwrap().destination, Destination::All);
    assert_eq!(msi(0xfeef_f004, 0x30).unwrap().destination, Destination::Logical(0xff));
}

#[test]
fn what_is_not_for_the_apics_or_has_no_meaning_is_dropped() {
    assert_eq!(msi(0xfec0_0000, 0x30), None);
    assert_eq!(msi(0x1_fee0_0000, 0x30), None);
    assert_eq!(msi(0xfee0_0000, 0x330), None, "reserved delivery mode");
    assert_eq!(msi(0xfee0_0000, 0x630), None, "a start-up IPI is not for MSI");
}
