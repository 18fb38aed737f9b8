use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;
use crate::any_access::{self, Step};
use crate::bus::Width;
use crate::interrupt::{
    Destination, EoiListener, InterruptMessage, IrqLine, MsiMessage, MsiTarget, VcpuWaker,
};
use crate::time::ManualClock;

/// Counts wakes per vCPU.
#[derive(Default)]
struct Wakes(Mutex<Vec<usize>>);

impl VcpuWaker for Wakes {
    fn wake(&self, vcpu: usize) {
        self.0.lock().unwrap().push(vcpu);
    }
}

/// An 8259 that always has the same vector.
struct FixedPic(AtomicU8, AtomicUsize);

impl ExtIntSource for FixedPic {
    fn acknowledge(&self) -> u8 {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.load(Ordering::SeqCst)
    }
}

#[derive(Default)]
struct Eois(Mutex<Vec<u8>>);

impl EoiListener for Eois {
    fn end_of_interrupt(&self, vector: u8) {
        self.0.lock().unwrap().push(vector);
    }
}

struct Machine {
    apics: Vec<LocalApic>,
    fabric: Arc<InterruptFabric>,
    clock: Arc<ManualClock>,
    wakes: Arc<Wakes>,
    pic: Arc<FixedPic>,
    eois: Arc<Eois>,
}

/// `count` processors with IDs 0, 1, …, all software-enabled.
fn machine(count: u32) -> Machine {
    let ids: Vec<u32> = (0..count).collect();
    let wakes = Arc::new(Wakes::default());
    let fabric = InterruptFabric::new(&ids, wakes.clone());
    let clock = Arc::new(ManualClock::new(1_000_000_000));
    let pic = Arc::new(FixedPic(AtomicU8::new(0x30), AtomicUsize::new(0)));
    let eois = Arc::new(Eois::default());
    let listener: Arc<dyn EoiListener> = eois.clone();
    fabric.attach_eoi_listener(Arc::downgrade(&listener));
    let apic = |&apic_id: &u32| {
        let config = LocalApicConfig {
            vcpu: apic_id as usize,
            apic_id,
            bootstrap: apic_id == 0,
            timer_hz: 1_000_000_000,
            x2apic: true,
            tsc_deadline: true,
        };
        LocalApic::new(config, fabric.clone(), clock.clone(), pic.clone()).unwrap()
    };
    let mut apics: Vec<LocalApic> = ids.iter().map(apic).collect();
    apics.iter_mut().for_each(|apic| apic.poke(reg::SVR, 0x1ff));
    Machine { apics, fabric, clock, wakes, pic, eois }
}

impl LocalApic {
    fn peek(&mut self, offset: u32) -> u32 {
        self.read_mmio(offset.into(), Width::Four) as u32
    }

    fn poke(&mut self, offset: u32, value: u32) {
        self.write_mmio(offset.into(), Width::Four, value.into());
    }

    fn ipi(&mut self, destination: u8, low: u32) {
        self.poke(reg::ICR_HIGH, u32::from(destination) << 24);
        self.poke(reg::ICR_LOW, low);
    }

    /// Everything deliverable, served and ended.
    fn drain(&mut self) -> Vec<u8> {
        let mut vectors = Vec::new();
        while let Some(vector) = self.acknowledge() {
            vectors.push(vector);
            self.poke(reg::EOI, 0);
        }
        vectors
    }

    fn enter_x2apic(&mut self) {
        let base = self.read_msr(spec::msr::APIC_BASE).unwrap();
        self.write_msr(spec::msr::APIC_BASE, base | base::X2APIC).unwrap();
    }
}

fn fixed(vector: u8) -> InterruptMessage {
    InterruptMessage {
        destination: Destination::All,
        mode: DeliveryMode::Fixed,
        vector,
        trigger: Trigger::Edge,
    }
}

#[test]
fn registers_after_power_up() {
    let mut machine = machine(2);
    machine.apics[1].reset();
    let apic = &mut machine.apics[1];

    for (offset, value) in [
        (reg::ID, 0x0100_0000),
        (reg::VERSION, 0x0005_0014),
        (reg::TPR, 0),
        (reg::PPR, 0),
        (reg::LDR, 0),
        (reg::DFR, 0xffff_ffff),
        (reg::SVR, 0xff),
        (reg::ESR, 0),
        (reg::ICR_LOW, 0),
        (reg::ICR_HIGH, 0),
        (reg::LVT_TIMER, 0x1_0000),
        (reg::LVT_THERMAL, 0x1_0000),
        (reg::LVT_PERFORMANCE, 0x1_0000),
        (reg::LVT_LINT0, 0x1_0000),
        (reg::LVT_LINT1, 0x1_0000),
        (reg::LVT_ERROR, 0x1_0000),
        (reg::TIMER_INITIAL, 0),
        (reg::TIMER_CURRENT, 0),
        (reg::TIMER_DIVIDE, 0),
    ] {
        assert_eq!(apic.peek(offset), value, "{offset:#x}");
    }
    assert_eq!(apic.read_msr(spec::msr::APIC_BASE), Ok(0xfee0_0800));
    assert_eq!(machine.apics[0].read_msr(spec::msr::APIC_BASE), Ok(0xfee0_0900));
    assert!(machine.apics[1].waits_for_startup());
    assert!(!machine.apics[0].waits_for_startup());
}

#[test]
fn each_register_keeps_its_writable_bits_and_no_others() {
    let mut machine = machine(1);
    let apic = &mut machine.apics[0];
    // SVR first: with it clear the LVTs would stay masked.
    for (offset, writable, fixed) in [
        (reg::SVR, 0x3ff, 0),
        (reg::TPR, 0xff, 0),
        (reg::LDR, 0xff00_0000, 0),
        (reg::DFR, 0xf000_0000, 0x0fff_ffff),
        (reg::LVT_TIMER, 0x7_00ff, 0),
        (reg::LVT_THERMAL, 0x1_07ff, 0),
        (reg::LVT_PERFORMANCE, 0x1_07ff, 0),
        (reg::LVT_LINT0, 0x1_a7ff, 0),
        (reg::LVT_LINT1, 0x1_a7ff, 0),
        (reg::LVT_ERROR, 0x1_00ff, 0),
        (reg::TIMER_DIVIDE, 0xb, 0),
        (reg::ICR_HIGH, 0xff00_0000, 0),
        (reg::ID, 0, 0),
        (reg::VERSION, 0, 0x0005_0014),
    ] {
        apic.poke(offset, u32::MAX);
        assert_eq!(apic.peek(offset), writable | fixed, "{offset:#x}");
        apic.poke(offset, 0);
        let masked = if (reg::LVT_TIMER..=reg::LVT_ERROR).contains(&offset) { 0 } else { fixed };
        assert_eq!(apic.peek(offset), masked, "{offset:#x}");
        apic.poke(reg::SVR, 0x1ff);
    }
}

#[test]
fn a_register_reads_in_every_width_and_is_written_in_four_bytes_only() {
    let mut machine = machine(1);
    let apic = &mut machine.apics[0];
    apic.poke(reg::LDR, 0xab00_0000);

    assert_eq!(apic.read_mmio(0xd3, Width::One), 0xab);
    assert_eq!(apic.read_mmio(0xd2, Width::Two), 0xab00);
    assert_eq!(apic.read_mmio(0xd0, Width::Eight), 0xab00_0000);
    assert_eq!(apic.read_mmio(0xd4, Width::Four), 0);
    assert_eq!(apic.read_mmio(0xdf, Width::Eight), 0);
    for (offset, width) in [(0xd0, Width::One), (0xd0, Width::Two), (0xd1, Width::Four), (0xd4, Width::Four)]
    {
        apic.write_mmio(offset, width, 0xffff_ffff);
    }
    assert_eq!(apic.peek(reg::LDR), 0xab00_0000);
    apic.write_mmio(0xd0, Width::Eight, 0xffff_ffff_1200_0000);
    assert_eq!(apic.peek(reg::LDR), 0x1200_0000);
}

#[test]
fn vectors_are_served_by_class_and_nest() {
    let mut machine = machine(1);
    for vector in [0x31, 0x52, 0x51, 0xef] {
        machine.fabric.deliver(&fixed(vector));
    }
    let apic = &mut machine.apics[0];

    assert_eq!(apic.highest_deliverable(), Some(Deliverable::Vector(0xef)));
    assert_eq!(apic.acknowledge(), Some(0xef));
    assert_eq!(apic.peek(reg::PPR), 0xe0);
    assert_eq!(apic.acknowledge(), None, "0x52 has a lower class");
    apic.poke(reg::EOI, 0);
    assert_eq!(apic.acknowledge(), Some(0x52));
    assert_eq!(apic.acknowledge(), None, "0x51 has the same class");
    assert_eq!(apic.peek(reg::IRR + 0x10), 1 << 0x11);
    assert_eq!(apic.peek(reg::IRR + 0x20), 1 << 0x11);
    assert_eq!(apic.peek(reg::ISR + 0x20), 1 << 0x12);
    apic.poke(reg::EOI, 0);
    assert_eq!(apic.drain(), [0x51, 0x31]);
    assert!(!apic.has_work());
}

#[test]
fn the_task_priority_holds_back_its_class_and_below() {
    let mut machine = machine(1);
    machine.fabric.deliver(&fixed(0x45));
    let apic = &mut machine.apics[0];

    apic.set_cr8(4).unwrap();
    assert_eq!(apic.peek(reg::TPR), 0x40);
    assert_eq!(apic.highest_deliverable(), None);
    assert!(!apic.has_work());
    apic.poke(reg::TPR, 0x3f);
    assert_eq!(apic.cr8(), 3);
    assert!(apic.has_work());
    assert_eq!(apic.acknowledge(), Some(0x45));
    assert_eq!(apic.set_cr8(16), Err(GeneralProtection));
    assert_eq!(apic.set_cr8(u64::MAX), Err(GeneralProtection));
}

#[test]
fn a_wake_comes_with_the_first_post_only_until_the_owner_looks() {
    let mut machine = machine(2);

    machine.fabric.deliver(&fixed(0x40));
    machine.fabric.deliver(&fixed(0x41));
    assert_eq!(*machine.wakes.0.lock().unwrap(), [0, 1]);
    assert!(machine.apics[0].has_work());
    machine.apics[0].highest_deliverable();
    machine.fabric.deliver(&fixed(0x42));

    assert_eq!(*machine.wakes.0.lock().unwrap(), [0, 1, 0]);
}

#[test]
fn a_software_disabled_apic_takes_no_vectors_and_masks_its_lvts() {
    let mut machine = machine(1);
    let apic = &mut machine.apics[0];
    apic.poke(reg::LVT_TIMER, 0x40);
    apic.poke(reg::SVR, 0xff);

    assert_eq!(machine.fabric.deliver(&fixed(0x40)), 0);
    assert_eq!(apic.peek(reg::LVT_TIMER), 0x1_0040);
    apic.poke(reg::LVT_TIMER, 0x41);
    assert_eq!(apic.peek(reg::LVT_TIMER), 0x1_0041, "it cannot be unmasked");
    let nmi = InterruptMessage { mode: DeliveryMode::Nmi, ..fixed(0) };
    assert_eq!(machine.fabric.deliver(&nmi), 1);
    assert!(apic.take_nmi());
    assert!(!apic.take_nmi());
}

#[test]
fn level_interrupts_are_ended_at_the_io_apic_and_edges_are_not() {
    let mut machine = machine(1);
    machine.fabric.deliver(&InterruptMessage { trigger: Trigger::Level, ..fixed(0x60) });
    machine.fabric.deliver(&fixed(0x70));
    let apic = &mut machine.apics[0];
    assert_eq!(apic.peek(reg::TMR + 0x30), 1);

    assert_eq!(apic.drain(), [0x70, 0x60]);
    assert_eq!(*machine.eois.0.lock().unwrap(), [0x60]);

    machine.fabric.deliver(&fixed(0x60));
    assert_eq!(apic.drain(), [0x60]);
    assert_eq!(machine.eois.0.lock().unwrap().len(), 1, "the trigger mode follows the last message");
    apic.poke(reg::EOI, 0);
}

/// Who takes an IPI, for every kind of destination.
#[test]
fn ipi_matrix_in_xapic_mode() {
    const LOGICAL: u32 = 1 << 11;
    let flat = [0x01, 0x02, 0x04, 0x80];
    let cluster = [0x01, 0x02, 0x11, 0x12];
    for (model, ids, destination, low, expected) in [
        (u32::MAX, flat, 2, 0, vec![2]),
        (u32::MAX, flat, 9, 0, vec![]),
        (u32::MAX, flat, 0xff, 0, vec![0, 1, 2, 3]),
        (u32::MAX, flat, 0x05, LOGICAL, vec![0, 2]),
        (u32::MAX, flat, 0xff, LOGICAL, vec![0, 1, 2, 3]),
        (u32::MAX, flat, 0x40, LOGICAL, vec![]),
        (0x0fff_ffff, cluster, 0x03, LOGICAL, vec![0, 1]),
        (0x0fff_ffff, cluster, 0x12, LOGICAL, vec![3]),
        (0x0fff_ffff, cluster, 0x21, LOGICAL, vec![]),
        (0x0fff_ffff, cluster, 0xff, LOGICAL, vec![0, 1, 2, 3]),
        (u32::MAX, flat, 3, 1 << 18, vec![1]),
        (u32::MAX, flat, 3, 2 << 18, vec![0, 1, 2, 3]),
        (u32::MAX, flat, 3, 3 << 18, vec![0, 2, 3]),
    ] {
        let mut machine = machine(4);
        for (apic, id) in machine.apics.iter_mut().zip(ids) {
            apic.poke(reg::DFR, model);
            apic.poke(reg::LDR, id << 24);
        }

        machine.apics[1].ipi(destination, low | 0x4041);

        let taken: Vec<usize> = (0..4).filter(|&n| machine.apics[n].drain() == [0x41]).collect();
        assert_eq!(taken, expected, "{destination:#x} {low:#x}");
        assert!(!machine.wakes.0.lock().unwrap().contains(&1), "the sender is awake");
    }
}

#[test]
fn ipi_matrix_in_x2apic_mode() {
    const LOGICAL: u64 = 1 << 11;
    for (icr, expected) in [
        (2 << 32, vec![2]),
        (0xffff_ffff << 32, vec![0, 1, 2, 17]),
        (0xff << 32, vec![]),
        (5 << 32 | LOGICAL, vec![0, 2]),
        (0x1_0002 << 32 | LOGICAL, vec![17]),
        (0xffff_ffff << 32 | LOGICAL, vec![0, 1, 2, 17]),
        (1 << 18, vec![1]),
        (3 << 18, vec![0, 2, 17]),
    ] {
        let mut machine = machine(18);
        for n in [0, 1, 2, 17] {
            machine.apics[n].enter_x2apic();
        }
        for n in 3..17 {
            machine.apics[n].poke(reg::SVR, 0xff);
        }

        machine.apics[1].write_msr(0x830, icr | 0x41).unwrap();

        let taken: Vec<usize> = (0..18).filter(|&n| !machine.apics[n].irr_is_empty()).collect();
        assert_eq!(taken, expected, "{icr:#x}");
        assert_eq!(machine.apics[1].read_msr(0x830), Ok(icr | 0x41));
    }
}

impl LocalApic {
    fn irr_is_empty(&mut self) -> bool {
        self.collect();
        self.irr.highest().is_none()
    }
}

#[test]
fn lowest_priority_goes_to_the_idlest_and_takes_turns() {
    let mut machine = machine(3);
    machine.apics[1].set_cr8(5).unwrap();
    let message = InterruptMessage { mode: DeliveryMode::LowestPriority, ..fixed(0x61) };

    let mut taken = [0; 3];
    for _ in 0..30 {
        assert_eq!(machine.fabric.deliver(&message), 1);
        for (count, apic) in taken.iter_mut().zip(&mut machine.apics) {
            *count += apic.drain().len();
        }
    }

    assert_eq!(taken[1], 0);
    assert!(taken[0] >= 5 && taken[2] >= 5, "{taken:?}");
}

#[test]
fn init_resets_the_apic_and_startup_follows_it() {
    let mut machine = machine(2);
    machine.apics[1].poke(reg::TPR, 0x20);
    machine.apics[0].ipi(1, 0x4041);

    // As Linux does it: INIT, INIT de-assert, two start-ups.
    machine.apics[0].ipi(1, 0xc500);
    machine.apics[0].ipi(1, 0x8500);
    machine.apics[0].ipi(1, 0x0699);
    machine.apics[0].ipi(1, 0x0698);

    let apic = &mut machine.apics[1];
    assert!(apic.has_work());
    assert_eq!(apic.take_event(), Some(VcpuEvent::Init));
    assert_eq!(apic.take_event(), Some(VcpuEvent::Startup { vector: 0x99 }));
    assert_eq!(apic.take_event(), None);
    assert!(!apic.waits_for_startup());
    assert_eq!(apic.peek(reg::TPR), 0);
    assert_eq!(apic.peek(reg::SVR), 0xff);
    assert!(apic.irr_is_empty());
    machine.apics[0].ipi(1, 0x0697);
    assert_eq!(machine.apics[1].take_event(), None, "a running processor ignores start-up");
}

#[test]
fn a_startup_before_an_init_is_forgotten() {
    let mut machine = machine(2);
    machine.apics[0].ipi(1, 0x0610);
    machine.apics[0].ipi(1, 0x4500);

    assert_eq!(machine.apics[1].take_event(), Some(VcpuEvent::Init));
    assert_eq!(machine.apics[1].take_event(), None);
    assert!(machine.apics[1].waits_for_startup());
}

#[test]
fn an_init_to_the_bootstrap_processor_does_not_make_it_wait() {
    let mut machine = machine(2);
    machine.apics[1].ipi(0, 0x4500);

    assert_eq!(machine.apics[0].take_event(), Some(VcpuEvent::Init));
    assert!(!machine.apics[0].waits_for_startup());
}

#[test]
fn nmi_by_ipi_msi_and_lint1() {
    let mut machine = machine(2);
    machine.apics[0].ipi(1, 0x4400);
    assert!(machine.apics[1].nmi_pending());
    assert!(machine.apics[1].take_nmi());

    machine.fabric.send_msi(MsiMessage { address: 0xfee0_1000, data: 0x400 });
    assert!(machine.apics[1].take_nmi());

    let lint1 = machine.fabric.lint1();
    machine.apics[0].poke(reg::LVT_LINT1, 0x400);
    lint1.pulse();
    assert!(machine.apics[0].take_nmi());
    assert!(!machine.apics[1].take_nmi(), "masked there");
}

#[test]
fn errors_are_latched_on_write_and_raise_the_error_interrupt() {
    let mut machine = machine(1);
    let apic = &mut machine.apics[0];
    apic.poke(reg::LVT_ERROR, 0xfe);

    apic.ipi(0, 0x4005);
    assert_eq!(apic.drain(), [0xfe]);
    assert_eq!(apic.peek(reg::ESR), 0, "not before it is written");
    apic.poke(reg::ESR, 0);
    assert_eq!(apic.peek(reg::ESR), esr::SEND_ILLEGAL_VECTOR);
    apic.poke(reg::ESR, 0);
    assert_eq!(apic.peek(reg::ESR), 0);

    machine.fabric.deliver(&fixed(0x0f));
    assert_eq!(apic.drain(), [0xfe]);
    apic.poke(reg::ESR, 0);
    assert_eq!(apic.peek(reg::ESR), esr::RECEIVED_ILLEGAL_VECTOR);

    apic.peek(0x3f0);
    apic.poke(0x040, 1);
    apic.poke(reg::ESR, 0);
    assert_eq!(apic.peek(reg::ESR), esr::ILLEGAL_REGISTER);
}

#[test]
fn ext_int_through_lint0_asks_the_8259() {
    let mut machine = machine(2);
    for apic in &mut machine.apics {
        apic.set_firmware_state();
    }
    let lint0 = machine.fabric.lint0();
    lint0.set_level(true);

    assert_eq!(*machine.wakes.0.lock().unwrap(), [0], "LINT0 is masked on the other");
    assert!(machine.apics[0].has_work());
    assert_eq!(machine.apics[0].highest_deliverable(), Some(Deliverable::ExtInt));
    assert_eq!(machine.apics[0].acknowledge(), Some(0x30));
    assert_eq!(machine.apics[0].peek(reg::ISR + 0x10), 0, "the APIC does not serve it");
    lint0.set_level(false);
    assert!(!machine.apics[0].has_work());
    assert_eq!(machine.apics[1].highest_deliverable(), None);
    assert_eq!(machine.pic.1.load(Ordering::SeqCst), 1);
}

#[test]
fn a_line_that_rose_while_masked_is_found_when_lint0_is_unmasked() {
    let mut machine = machine(1);
    machine.fabric.lint0().set_level(true);
    assert_eq!(machine.apics[0].highest_deliverable(), None);

    machine.apics[0].poke(reg::LVT_LINT0, 0x700);

    assert_eq!(machine.apics[0].highest_deliverable(), Some(Deliverable::ExtInt));
}

#[test]
fn an_ext_int_message_asks_the_8259_once() {
    let mut machine = machine(1);
    machine.fabric.deliver(&InterruptMessage { mode: DeliveryMode::ExtInt, ..fixed(0) });

    assert_eq!(machine.apics[0].acknowledge(), Some(0x30));
    assert_eq!(machine.apics[0].acknowledge(), None);
}

#[test]
fn lint0_as_a_fixed_edge_fires_per_edge_and_forgets_masked_ones() {
    let mut machine = machine(1);
    let lint0 = machine.fabric.lint0();
    lint0.pulse();
    machine.apics[0].poke(reg::LVT_LINT0, 0x35);
    assert_eq!(machine.apics[0].drain(), []);

    lint0.set_level(true);
    assert_eq!(machine.apics[0].drain(), [0x35]);
    assert_eq!(machine.apics[0].drain(), []);
    lint0.pulse();
    assert_eq!(machine.apics[0].drain(), [], "it was already up");
    lint0.pulse();
    assert_eq!(machine.apics[0].drain(), [0x35]);
}

#[test]
fn lint0_as_a_fixed_level_fires_again_after_eoi_while_up() {
    let mut machine = machine(1);
    machine.apics[0].poke(reg::LVT_LINT0, 0x8035);
    let lint0 = machine.fabric.lint0();
    lint0.set_level(true);
    let apic = &mut machine.apics[0];

    assert_eq!(apic.acknowledge(), Some(0x35));
    assert_eq!(apic.peek(reg::LVT_LINT0), 0xc035, "remote IRR");
    apic.poke(reg::EOI, 0);
    assert_eq!(apic.acknowledge(), Some(0x35));
    lint0.set_level(false);
    apic.poke(reg::EOI, 0);
    assert_eq!(apic.acknowledge(), None);
    assert_eq!(apic.peek(reg::LVT_LINT0), 0x8035);
}

#[test]
fn with_the_apic_off_lint0_is_the_interrupt_pin() {
    let mut machine = machine(1);
    machine.apics[0].write_msr(spec::msr::APIC_BASE, 0xfee0_0000).unwrap();
    assert!(!machine.apics[0].is_enabled());
    assert_eq!(machine.apics[0].mmio_base(), None);

    machine.fabric.lint0().set_level(true);

    assert_eq!(machine.apics[0].acknowledge(), Some(0x30));
    assert_eq!(machine.fabric.deliver(&fixed(0x40)), 0);
}

#[test]
fn timer_interrupts_through_its_lvt_entry() {
    let mut machine = machine(1);
    let apic = &mut machine.apics[0];
    apic.poke(reg::TIMER_DIVIDE, 0xb);
    apic.poke(reg::LVT_TIMER, 0x2_00ec);
    apic.poke(reg::TIMER_INITIAL, 1_000_000);

    assert_eq!(apic.next_deadline_ns(), Some(1_000_000));
    machine.clock.advance_to(600_000);
    assert_eq!(apic.peek(reg::TIMER_CURRENT), 400_000);
    apic.advance(machine.clock.advance_to(1_000_000));
    assert_eq!(apic.drain(), [0xec]);
    apic.poke(reg::LVT_TIMER, 0x3_00ec);
    assert_eq!(apic.next_deadline_ns(), None, "masked");
    apic.advance(machine.clock.advance_to(2_500_000));
    apic.poke(reg::LVT_TIMER, 0x2_00ec);
    assert_eq!(apic.drain(), [], "what came while masked is lost");
    assert_eq!(apic.next_deadline_ns(), Some(3_000_000));
}

#[test]
fn tsc_deadline_by_msr() {
    let mut machine = machine(1);
    let apic = &mut machine.apics[0];
    apic.poke(reg::LVT_TIMER, 0x4_00ec);
    apic.write_msr(spec::msr::TSC_DEADLINE, 5_000).unwrap();

    assert_eq!(apic.read_msr(spec::msr::TSC_DEADLINE), Ok(5_000));
    assert_eq!(apic.next_deadline_ns(), Some(5_000));
    apic.advance(machine.clock.advance_to(5_000));
    assert_eq!(apic.read_msr(spec::msr::TSC_DEADLINE), Ok(0));
    assert_eq!(apic.drain(), [0xec]);
    apic.write_msr(spec::msr::TSC_DEADLINE, 1).unwrap();
    assert_eq!(apic.drain(), [0xec], "a deadline in the past fires at once");
}

#[test]
fn mode_transitions_follow_the_manual() {
    const OFF: u64 = 0xfee0_0000;
    const ON: u64 = OFF | base::ENABLE;
    const X2: u64 = ON | base::X2APIC;
    for (path, last) in [
        (vec![ON], true),
        (vec![X2], true),
        (vec![OFF], true),
        (vec![OFF | base::X2APIC], false),
        (vec![X2, ON], false),
        (vec![X2, OFF], true),
        (vec![X2, OFF, ON], true),
        (vec![OFF, X2], false),
        (vec![OFF, ON, X2, X2], true),
        (vec![X2 | 1 << 9], false),
        (vec![ON | 1], false),
        (vec![ON | 1 << 52], false),
    ] {
        let mut machine = machine(1);
        let results: Vec<bool> = path
            .iter()
            .map(|value| machine.apics[0].write_msr(spec::msr::APIC_BASE, *value).is_ok())
            .collect();
        assert_eq!(results.last(), Some(&last), "{path:x?}");
    }
}

#[test]
fn the_page_moves_with_its_base_and_the_bootstrap_bit_stays() {
    let mut machine = machine(1);
    let apic = &mut machine.apics[0];
    apic.write_msr(spec::msr::APIC_BASE, 0x1_2340_0800).unwrap();

    assert_eq!(apic.mmio_base(), Some(0x1_2340_0000));
    assert_eq!(apic.read_msr(spec::msr::APIC_BASE), Ok(0x1_2340_0900));
}

#[test]
fn without_x2apic_in_cpuid_its_bit_is_reserved() {
    let mut machine = machine(1);
    machine.apics[0].config.x2apic = false;
    machine.apics[0].config.tsc_deadline = false;
    let apic = &mut machine.apics[0];

    assert_eq!(apic.write_msr(spec::msr::APIC_BASE, 0xfee0_0c00), Err(GeneralProtection));
    assert!(!apic.handles_msr(spec::msr::TSC_DEADLINE));
    assert_eq!(apic.read_msr(spec::msr::TSC_DEADLINE), Err(GeneralProtection));
    apic.poke(reg::LVT_TIMER, 0x4_00ec);
    assert_eq!(apic.peek(reg::LVT_TIMER), 0xec);
}

#[test]
fn x2apic_registers_by_msr() {
    let mut machine = machine(18);
    let apic = &mut machine.apics[17];
    assert_eq!(apic.read_msr(0x802), Err(GeneralProtection), "not in xAPIC mode");
    apic.enter_x2apic();
    assert_eq!(apic.mmio_base(), None);

    assert_eq!(apic.read_msr(0x802), Ok(17));
    assert_eq!(apic.read_msr(0x803), Ok(0x0005_0014));
    assert_eq!(apic.read_msr(0x80d), Ok(0x1_0002));
    apic.write_msr(0x808, 0x30).unwrap();
    assert_eq!(apic.cr8(), 3);
    apic.write_msr(0x83f, 0x77).unwrap();
    assert_eq!(apic.read_msr(0x823), Ok(1 << 23));
    assert_eq!(apic.acknowledge(), Some(0x77));
    assert_eq!(apic.read_msr(0x813), Ok(1 << 23));
    apic.write_msr(0x80b, 0).unwrap();
    assert_eq!(apic.read_msr(0x813), Ok(0));
    apic.write_msr(0x832, 0x4_00ec).unwrap();
    assert_eq!(apic.read_msr(0x832), Ok(0x4_00ec));
}

#[test]
fn x2apic_refuses_reserved_bits_and_missing_registers() {
    let mut machine = machine(1);
    let apic = &mut machine.apics[0];
    apic.enter_x2apic();

    for (index, value) in [
        (0x802, 0),
        (0x803, 0),
        (0x808, 0x100),
        (0x80a, 0),
        (0x80b, 1),
        (0x80d, 0),
        (0x80e, 0),
        (0x80f, 0x1_0000),
        (0x810, 0),
        (0x828, 1),
        (0x82f, 0),
        (0x830, 1 << 13),
        (0x831, 0),
        (0x832, 1 << 20),
        (0x835, 1 << 11),
        (0x839, 0),
        (0x83e, 4),
        (0x83f, 0x100),
        (0x838, 1 << 32),
        (0x8ff, 0),
    ] {
        assert_eq!(apic.write_msr(index, value), Err(GeneralProtection), "{index:#x}");
    }
    for index in [0x800, 0x80b, 0x80e, 0x809, 0x80c, 0x831, 0x83f, 0x82f, 0x8ff] {
        assert_eq!(apic.read_msr(index), Err(GeneralProtection), "{index:#x}");
    }
}

#[test]
fn reset_forgets_what_was_posted() {
    let mut machine = machine(2);
    machine.fabric.deliver(&fixed(0x40));
    machine.apics[0].ipi(1, 0x4500);

    machine.apics[1].reset();

    assert!(!machine.apics[1].has_work());
    assert_eq!(machine.apics[1].take_event(), None);
}

#[test]
fn a_vcpu_the_fabric_does_not_have_is_refused() {
    let machine = machine(1);
    let config = LocalApicConfig { vcpu: 5, ..machine.apics[0].config };
    let result = LocalApic::new(config, machine.fabric.clone(), machine.clock.clone(), machine.pic.clone());
    assert_eq!(result.err(), Some(NoSuchVcpu { vcpu: 5 }));
}

/// Posts from other threads, a vCPU that sleeps when it has nothing to do: every vector arrives.
#[test]
fn no_wake_is_lost_between_threads() {
    use std::sync::mpsc;
    struct Wake(mpsc::SyncSender<()>);
    impl VcpuWaker for Wake {
        fn wake(&self, _vcpu: usize) {
            let _ = self.0.try_send(());
        }
    }
    let (sender, receiver) = mpsc::sync_channel(1);
    let fabric = InterruptFabric::new(&[0], Arc::new(Wake(sender)));
    let config = LocalApicConfig {
        vcpu: 0,
        apic_id: 0,
        bootstrap: true,
        timer_hz: 1,
        x2apic: false,
        tsc_deadline: false,
    };
    let pic = Arc::new(FixedPic(AtomicU8::new(0), AtomicUsize::new(0)));
    let mut apic = LocalApic::new(config, fabric.clone(), Arc::new(ManualClock::new(1)), pic).unwrap();
    apic.poke(reg::SVR, 0x1ff);
    let served = Arc::new([const { AtomicUsize::new(0) }; 256]);
    const ROUNDS: usize = 3_000;
    let posters: Vec<_> = [0x40_u8, 0x51, 0x62]
        .into_iter()
        .map(|vector| {
            let (fabric, served) = (fabric.clone(), served.clone());
            std::thread::spawn(move || {
                for round in 0..ROUNDS {
                    fabric.deliver(&fixed(vector));
                    while served[usize::from(vector)].load(Ordering::SeqCst) <= round {
                        std::thread::yield_now();
                    }
                }
            })
        })
        .collect();

    let mut total = 0;
    while total < 3 * ROUNDS {
        let vectors = apic.drain();
        for vector in &vectors {
            served[usize::from(*vector)].fetch_add(1, Ordering::SeqCst);
        }
        total += vectors.len();
        if vectors.is_empty() && !apic.has_work() {
            receiver.recv_timeout(std::time::Duration::from_secs(20)).expect("a wake was lost");
        }
    }

    posters.into_iter().for_each(|poster| poster.join().unwrap());
    assert_eq!(total, 3 * ROUNDS);
}

proptest! {
    #[test]
    fn any_access_is_survived_and_the_timer_is_ahead(
        steps in any_access::steps(0x400), msrs in prop::collection::vec((0x800_u32..0x840, any_access::value()), 0..60),
    ) {
        let mut machine = machine(2);
        let lines: Vec<IrqLine> = vec![machine.fabric.lint0(), machine.fabric.lint1()];
        for (n, step) in steps.into_iter().enumerate() {
            let apic = &mut machine.apics[n % 2];
            match step {
                Step::Read(offset, width) => { apic.read_mmio(offset, width); }
                Step::Write(offset, width, value) => apic.write_mmio(offset, width, value),
                Step::Wait(ns) => {
                    let now = machine.clock.advance_by(ns % (1 << 40));
                    apic.advance(now);
                    if let Some(next) = apic.next_deadline_ns() {
                        prop_assert!(next > now);
                    }
                }
                Step::Poke(value) => {
                    lines[usize::from(value & 1)].set_level(value & 2 != 0);
                    machine.fabric.send_msi(MsiMessage { address: 0xfee0_0000 | u64::from(value) << 12, data: u32::from(value) << 4 });
                    apic.take_event();
                    apic.acknowledge();
                    let _ = apic.set_cr8(u64::from(value >> 3));
                }
            }
        }
        for (n, (index, value)) in msrs.into_iter().enumerate() {
            let apic = &mut machine.apics[n % 2];
            if n == 1 {
                let _ = apic.write_msr(spec::msr::APIC_BASE, 0xfee0_0c00);
            }
            let _ = apic.write_msr(index, value);
            let _ = apic.read_msr(index);
            let _ = apic.write_msr(spec::msr::APIC_BASE, value);
            apic.acknowledge();
        }
    }
}
