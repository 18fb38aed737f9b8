use super::*;
use crate::bus::{BusDevice, Width};
use crate::interrupt::{
    ExtIntSource, InterruptFabric, LocalApic, LocalApicConfig, VcpuWaker, local_apic_spec,
};
use crate::lock;
use crate::time::ManualClock;

struct Nobody;

impl VcpuWaker for Nobody {
    fn wake(&self, _vcpu: usize) {}
}

impl ExtIntSource for Nobody {
    fn acknowledge(&self) -> u8 {
        0
    }
}

#[test]
fn slots_and_pins_are_spread_over_four_lines() {
    use InterruptPin::{A, B, C, D};
    for (device, pin, gsi) in
        [(0, A, 16), (1, A, 17), (1, D, 16), (3, A, 19), (4, A, 16), (5, B, 18), (31, C, 17), (255, D, 18)]
    {
        assert_eq!(intx_gsi(device, pin), gsi, "{device} {pin:?}");
    }
}

#[test]
fn shared_lines_stay_up_while_any_function_holds_them() {
    let fabric = InterruptFabric::new(&[0], Arc::new(Nobody));
    let io_apic = IoApic::new(0, fabric.clone());
    let config = LocalApicConfig {
        vcpu: 0,
        apic_id: 0,
        bootstrap: true,
        timer_hz: 1,
        x2apic: false,
        tsc_deadline: false,
    };
    let mut apic = LocalApic::new(config, fabric, Arc::new(ManualClock::new(1)), Arc::new(Nobody)).unwrap();
    apic.set_firmware_state();
    // Pin 17: level-triggered, vector 0x51.
    lock(&io_apic).write(0x00, Width::Four, 0x32).unwrap();
    lock(&io_apic).write(0x10, Width::Four, 0x8051).unwrap();
    let mut serve = || {
        let vector = apic.acknowledge();
        apic.write_mmio(local_apic_spec::reg::EOI.into(), Width::Four, 0);
        vector
    };
    let router = IntxRouter::new(&io_apic);
    let (first, second) = (router.line(1, InterruptPin::A), router.line(5, InterruptPin::A));

    first.set_level(true);
    second.set_level(true);
    assert_eq!(serve(), Some(0x51));
    first.set_level(false);
    assert_eq!(serve(), Some(0x51), "the other still holds it");
    second.set_level(false);

    assert_eq!(serve(), Some(0x51), "it had been sent again before");
    assert_eq!(serve(), None);
}
