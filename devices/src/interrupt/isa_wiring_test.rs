//! The timer interrupt's ways to a processor, as Linux tries them one after the other when it checks its timer.

use super::*;
use crate::bus::{BusDevice, Width};
use crate::interrupt::{
    InterruptFabric, LineSplit, LocalApic, LocalApicConfig, VcpuWaker, local_apic_spec::reg,
};
use crate::time::{Clock, ManualClock, TimedDevice};
use crate::timer::Pit8254;

struct NoWaker;

impl VcpuWaker for NoWaker {
    fn wake(&self, _vcpu: usize) {}
}

struct Machine {
    pic: Arc<Mutex<Pic8259Pair>>,
    io_apic: Arc<Mutex<IoApic>>,
    pit: Pit8254,
    apic: LocalApic,
    clock: Arc<ManualClock>,
}

/// A PC whose PIT ticks every millisecond.
fn machine() -> Machine {
    let clock = Arc::new(ManualClock::new(1_000_000_000));
    let fabric = InterruptFabric::new(&[0], Arc::new(NoWaker));
    let io_apic = IoApic::new(1, fabric.clone());
    let pic = Pic8259Pair::new(LineSplit::line(vec![fabric.lint0(), IoApic::line(&io_apic, 0)]));
    let wiring = IsaWiring::new(pic.clone(), io_apic.clone());
    let mut pit = Pit8254::new(wiring.line(isa_irq::TIMER), clock.clone(), Arc::new(()));
    for (offset, value) in [(3, 0x34), (0, 0xa9), (0, 0x04)] {
        pit.write(offset, Width::One, value).unwrap();
    }
    let config = LocalApicConfig {
        vcpu: 0,
        apic_id: 0,
        bootstrap: true,
        timer_hz: 1_000_000,
        x2apic: false,
        tsc_deadline: false,
    };
    let mut apic = LocalApic::new(config, fabric, clock.clone(), pic.clone()).unwrap();
    apic.set_firmware_state();
    Machine { pic, io_apic, pit, apic, clock }
}

impl Machine {
    fn init_pic(&self, auto_eoi: bool, master_mask: u64) {
        let mut pic = lock(&self.pic);
        let icw4 = if auto_eoi { 3 } else { 1 };
        for (offset, value) in [(0, 0x11), (1, 0x30), (1, 4), (1, icw4), (1, master_mask)] {
            pic.write(offset, Width::One, value).unwrap();
        }
        for (offset, value) in [(2, 0x11), (3, 0x38), (3, 2), (3, 1), (3, 0xff)] {
            pic.write(offset, Width::One, value).unwrap();
        }
    }

    fn route(&self, pin: u8, low: u32) {
        let mut io_apic = lock(&self.io_apic);
        io_apic.write(0, Width::Four, (0x10 + 2 * pin).into()).unwrap();
        io_apic.write(0x10, Width::Four, low.into()).unwrap();
    }

    /// Vectors that reach the processor in ten milliseconds, each ended by `eoi`.
    fn run(&mut self, eoi: impl Fn(&mut LocalApic, &Mutex<Pic8259Pair>)) -> Vec<u8> {
        let mut vectors = Vec::new();
        let end = self.clock.now_ns() + 10_000_000;
        while let Some(next) = self.pit.next_deadline_ns().filter(|next| *next <= end) {
            self.pit.advance(self.clock.advance_to(next));
            while let Some(vector) = self.apic.acknowledge() {
                vectors.push(vector);
                eoi(&mut self.apic, &self.pic);
            }
        }
        vectors
    }
}

fn apic_eoi(apic: &mut LocalApic, _pic: &Mutex<Pic8259Pair>) {
    apic.write_mmio(reg::EOI.into(), Width::Four, 0);
}

fn pic_eoi(_apic: &mut LocalApic, pic: &Mutex<Pic8259Pair>) {
    lock(pic).write(0, Width::One, 0x60).unwrap();
}

#[test]
fn through_the_io_apic() {
    let mut machine = machine();
    machine.init_pic(false, 0xff);
    machine.route(2, 0x30);
    machine.apic.write_mmio(reg::LVT_LINT0.into(), Width::Four, 0x1_0700);

    let vectors = machine.run(apic_eoi);

    assert_eq!(vectors, [0x30; 10]);
}

#[test]
fn through_the_8259_and_lint0_as_ext_int() {
    let mut machine = machine();
    machine.init_pic(false, 0xfe);

    let vectors = machine.run(pic_eoi);

    assert_eq!(vectors, [0x30; 10]);
}

#[test]
fn through_the_8259_and_pin_0_of_the_io_apic() {
    let mut machine = machine();
    machine.apic.write_mmio(reg::LVT_LINT0.into(), Width::Four, 0x1_0700);
    machine.route(0, 0x700);
    machine.init_pic(false, 0xfe);

    let vectors = machine.run(pic_eoi);

    assert_eq!(vectors, [0x30; 10]);
}

#[test]
fn through_the_8259_with_automatic_eoi() {
    let mut machine = machine();
    machine.init_pic(true, 0xfe);

    let vectors = machine.run(|_, _| {});

    assert_eq!(vectors, [0x30; 10]);
}

#[test]
fn a_device_reaches_the_same_number_on_both() {
    let machine = machine();
    let wiring = IsaWiring::new(machine.pic.clone(), machine.io_apic.clone());
    machine.init_pic(false, 0x00);
    machine.route(4, 0x44);
    let mut apic = machine.apic;

    wiring.line(4).set_level(true);

    assert_eq!(apic.acknowledge(), Some(0x34), "the 8259's");
    assert_eq!(apic.acknowledge(), Some(0x44), "the I/O APIC's");
}
