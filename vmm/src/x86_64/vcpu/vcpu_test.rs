use crate::config::VirtioTransport;
use std::sync::Mutex;

use devices::interrupt::{DeliveryMode, Destination, InterruptMessage, Trigger, VcpuWaker};
use devices::power::{SystemEvent, SystemEvents};
use devices::time::HostClock;
use hypervisor_framework::soft::Soft;
use hypervisor_framework::x86_64::vmcs::Field;
use hypervisor_framework::x86_64::{
    EntryControls, EptQualification, InterruptionInfo, InterruptionKind, ProcBased, Reg, Segment,
};

use super::scripted::{Scripted, State};
use super::*;
use crate::clock::MachineClock;
use crate::memory::GuestRam;
use crate::vcpu::counting_vm::CountingVm;
use crate::x86_64::cpuid::{CpuidConfig, CpuidPolicy, Level, ProviderFeatures, Signature, Timing};
use crate::x86_64::memory_map::memory_map;
use crate::x86_64::platform::{Effects, Parts, TSC_DEADLINE, X2APIC};

const IF: u64 = 1 << 9;
const STI: u64 = 1;
const NMI_BLOCKED: u64 = 1 << 3;
const RIP: u64 = 0x10_0000;

struct Silent;

impl VcpuWaker for Silent {
    fn wake(&self, _vcpu: usize) {}
}

#[derive(Default)]
struct Events(Mutex<Vec<SystemEvent>>);

impl SystemEvents for Events {
    fn notify(&self, event: SystemEvent) {
        self.0.lock().unwrap().push(event);
    }
}

struct Bench {
    cpu: X86Vcpu,
    script: Scripted,
    bell: Doorbell,
    platform: Arc<Platform>,
    events: Arc<Events>,
}

fn flat(rights: u32) -> boot::Segment {
    boot::Segment { selector: 0x10, base: 0, limit: u32::MAX, access_rights: rights }
}

/// Protected mode, flat, paging off.
fn boot_state() -> InitialState {
    let data = flat(0xc093);
    InitialState {
        rip: RIP,
        rflags: 2,
        cr0: 0x31,
        cs: flat(0xc09b),
        ds: data,
        es: data,
        ss: data,
        fs: data,
        gs: data,
        tr: flat(0x8b),
        ldtr: boot::Segment { access_rights: 1 << 16, ..boot::Segment::default() },
        ..InitialState::default()
    }
}

fn bench_of(index: u32) -> Bench {
    let timing = Timing::for_tsc(1_000_000_000);
    let config = CpuidConfig {
        cpus: 2,
        timing,
        x2apic: X2APIC,
        tsc_deadline: TSC_DEADLINE,
        physical_bits: 39,
        brand: None,
        hide: Vec::new(),
        extra: Vec::new(),
        level: Some(Level::V2),
        signature: Signature::default(),
    };
    let map = memory_map(64 << 20).unwrap();
    let ram = GuestRam::new(&map).unwrap();
    let parts = Parts {
        cpus: 2,
        debug_exit_port: Some(0xf4),
        clock: Arc::new(MachineClock::Host(HostClock::new(timing.tsc_hz))),
        cpuid: CpuidPolicy::soft(config, ProviderFeatures::default()),
        apic_timer_hz: timing.crystal_hz.into(),
        map,
        ram,
        devices: Vec::new(),
        transport: VirtioTransport::Pci,
        packed_rings: false,
    };
    let events = Arc::new(Events::default());
    let effects = Effects {
        waker: Arc::new(Silent),
        events: events.clone(),
        deadlines: Arc::new(()),
        serial_output: Box::new(()),
        serial_input: Box::new(()),
    };
    let platform = Arc::new(Platform::new(parts, effects).unwrap());
    let script = Scripted::default();
    let plan = ControlPlan::new(&Soft::default()).unwrap();
    let apic = platform.local_apic(index).unwrap();
    let counters = Arc::new(ExitCounters::default());
    let mut cpu =
        X86Vcpu::new(index, Box::new(script.clone()), apic, platform.clone(), plan, counters).unwrap();
    cpu.reset(&boot_state()).unwrap();
    let bell = Doorbell::new(Arc::new(CountingVm::default()));
    Bench { cpu, script, bell, platform, events }
}

fn bench() -> Bench {
    bench_of(0)
}

impl Bench {
    fn step(&mut self) -> Step {
        self.bell.answer();
        self.cpu.step(&self.bell).unwrap()
    }

    /// One run that ends with `reason` after the processor did `what`.
    fn run(&mut self, reason: ExitReason, what: impl FnOnce(&mut State) + Send + 'static) -> Step {
        self.script.then(move |state| {
            enter(state);
            what(state);
            reason.0
        });
        self.step()
    }

    fn field(&self, field: Field) -> u64 {
        self.script.with(|state| state.field(field))
    }

    fn set_field(&self, field: Field, value: u64) {
        self.script.with(|state| state.set_field(field, value));
    }

    fn register(&self, reg: Reg) -> u64 {
        self.script.with(|state| state.register(reg))
    }

    fn set_register(&self, reg: Reg, value: u64) {
        self.script.with(|state| state.set_register(reg, value));
    }

    fn post(&self, mode: DeliveryMode, vector: u8, to: u32) {
        let message =
            InterruptMessage { destination: Destination::Physical(to), mode, vector, trigger: Trigger::Edge };
        assert_eq!(self.platform.fabric().deliver(&message), 1);
    }

    fn primary(&self) -> ProcBased {
        ProcBased::from_bits_truncate(self.field(Field::CTRL_CPU_BASED) as u32)
    }

    /// Runs once and tells which event the processor was given.
    fn given(&mut self) -> InterruptionInfo {
        let seen = Arc::new(Mutex::new(0));
        let note = seen.clone();
        self.script.then(move |state| {
            *note.lock().unwrap() = state.field(Field::CTRL_VMENTRY_IRQ_INFO) as u32;
            enter(state);
            ExitReason::PREEMPTION_TIMER.0
        });
        assert!(matches!(self.step(), Step::Ran));
        InterruptionInfo(*seen.lock().unwrap())
    }
}

/// What an entry does to the fields.
fn enter(state: &mut State) {
    let info = state.field(Field::CTRL_VMENTRY_IRQ_INFO);
    state.set_field(Field::CTRL_VMENTRY_IRQ_INFO, info & !u64::from(InterruptionInfo::VALID));
}

fn external(vector: u8) -> InterruptionInfo {
    InterruptionInfo::new(InterruptionKind::External, vector, false)
}

#[test]
fn an_interrupt_waits_for_the_flag_and_is_given_once() {
    let mut bench = bench();
    bench.post(DeliveryMode::Fixed, 0x41, 0);
    assert!(!bench.given().is_valid());
    assert!(bench.primary().contains(ProcBased::IRQ_WINDOW));
    bench.run(ExitReason::INTERRUPT_WINDOW, |state| state.set_register(Reg::RFLAGS, 2 | IF));
    assert_eq!(bench.given(), external(0x41));
    assert!(!bench.primary().contains(ProcBased::IRQ_WINDOW));
    assert!(!bench.given().is_valid());
}

#[test]
fn the_instruction_after_sti_is_not_interrupted() {
    let mut bench = bench();
    bench.set_register(Reg::RFLAGS, 2 | IF);
    bench.set_field(Field::GUEST_INTERRUPTIBILITY, STI);
    bench.post(DeliveryMode::Fixed, 0x41, 0);
    assert!(!bench.given().is_valid());
    assert!(bench.primary().contains(ProcBased::IRQ_WINDOW));
    bench.set_field(Field::GUEST_INTERRUPTIBILITY, 0);
    assert_eq!(bench.given(), external(0x41));
}

#[test]
fn an_event_cut_short_is_given_again_before_others() {
    let mut bench = bench();
    bench.set_register(Reg::RFLAGS, 2 | IF);
    // Undefined bit 12 set, as hardware may.
    let cut = InterruptionInfo(external(0x30).0 | InterruptionInfo::NMI_UNBLOCKED);
    bench.run(ExitReason::EXTERNAL_INTERRUPT, move |state| {
        state.set_field(Field::RO_IDT_VECTOR_INFO, cut.0.into());
    });
    bench.post(DeliveryMode::Fixed, 0xf1, 0);
    assert_eq!(bench.given(), external(0x30));
    assert_eq!(bench.given(), external(0xf1));
}

#[test]
fn error_code_and_length_of_an_event_cut_short_are_kept() {
    let mut bench = bench();
    let fault = InterruptionInfo::new(InterruptionKind::HardwareException, 14, true);
    bench.run(ExitReason::EXTERNAL_INTERRUPT, move |state| {
        state.set_field(Field::RO_IDT_VECTOR_INFO, fault.0.into());
        state.set_field(Field::RO_IDT_VECTOR_ERROR, 6);
    });
    assert_eq!(bench.given(), fault);
    assert_eq!(bench.field(Field::CTRL_VMENTRY_EXC_ERROR), 6);
    let breakpoint = InterruptionInfo::new(InterruptionKind::SoftwareException, 3, false);
    bench.run(ExitReason::EXTERNAL_INTERRUPT, move |state| {
        state.set_field(Field::RO_IDT_VECTOR_INFO, breakpoint.0.into());
        state.set_field(Field::RO_VMEXIT_INSTR_LEN, 1);
    });
    assert_eq!(bench.given(), breakpoint);
    assert_eq!(bench.field(Field::CTRL_VMENTRY_INSTR_LEN), 1);
}

#[test]
fn an_event_that_did_not_get_in_stays() {
    let mut bench = bench();
    bench.set_register(Reg::RFLAGS, 2 | IF);
    bench.post(DeliveryMode::Fixed, 0x41, 0);
    // The provider returned without entering: the valid bit is still set.
    bench.script.then(|_| ExitReason::EXTERNAL_INTERRUPT.0);
    bench.step();
    assert_eq!(bench.given(), external(0x41));
    assert!(!bench.given().is_valid());
}

#[test]
fn a_ring_before_entry_delays_the_event_and_loses_nothing() {
    let mut bench = bench();
    bench.set_register(Reg::RFLAGS, 2 | IF);
    bench.post(DeliveryMode::Fixed, 0x41, 0);
    bench.bell.answer();
    bench.bell.ring();
    // The script is empty: running would fail.
    assert!(matches!(bench.cpu.step(&bench.bell).unwrap(), Step::Ran));
    assert_eq!(bench.given(), external(0x41));
}

#[test]
fn an_nmi_waits_while_blocked_and_its_blocking_is_taken_back_when_cut_short() {
    let mut bench = bench();
    bench.set_field(Field::GUEST_INTERRUPTIBILITY, NMI_BLOCKED);
    bench.post(DeliveryMode::Nmi, 0, 0);
    assert!(!bench.given().is_valid());
    assert!(bench.primary().contains(ProcBased::NMI_WINDOW));
    bench.set_field(Field::GUEST_INTERRUPTIBILITY, 0);
    let nmi = InterruptionInfo::new(InterruptionKind::Nmi, 2, false);
    assert_eq!(bench.given(), nmi);
    bench.run(ExitReason::EXTERNAL_INTERRUPT, move |state| {
        state.set_field(Field::GUEST_INTERRUPTIBILITY, NMI_BLOCKED);
        state.set_field(Field::RO_IDT_VECTOR_INFO, nmi.0.into());
    });
    assert_eq!(bench.field(Field::GUEST_INTERRUPTIBILITY), 0);
    assert_eq!(bench.given(), nmi);
}

#[test]
fn an_iret_that_faulted_blocks_nmis_again() {
    let mut bench = bench();
    bench.run(ExitReason::EPT_VIOLATION, |state| {
        state.set_field(Field::GUEST_PHYSICAL_ADDRESS, 0x1000);
        state.set_field(Field::RO_EXIT_QUALIFIC, EptQualification::READ | EptQualification::NMI_UNBLOCKED);
    });
    assert_eq!(bench.field(Field::GUEST_INTERRUPTIBILITY), NMI_BLOCKED);
}

#[test]
fn hlt_sleeps_behind_the_instruction_until_an_interrupt() {
    let mut bench = bench();
    bench.run(ExitReason::HLT, |state| {
        state.set_register(Reg::RFLAGS, 2 | IF);
        state.set_field(Field::GUEST_INTERRUPTIBILITY, STI);
        state.set_field(Field::RO_VMEXIT_INSTR_LEN, 1);
    });
    assert_eq!(bench.register(Reg::RIP), RIP + 1);
    assert_eq!(bench.field(Field::GUEST_INTERRUPTIBILITY), 0, "STI's shadow is over");
    assert!(matches!(bench.step(), Step::Idle(None)));
    assert!(!bench.cpu.sleeps_for_good().unwrap());
    bench.post(DeliveryMode::Fixed, 0x41, 0);
    assert_eq!(bench.given(), external(0x41));
}

#[test]
fn hlt_with_interrupts_off_sleeps_for_good_but_for_nmi() {
    let mut bench = bench();
    bench.run(ExitReason::HLT, |state| state.set_field(Field::RO_VMEXIT_INSTR_LEN, 1));
    bench.post(DeliveryMode::Fixed, 0x41, 0);
    assert!(matches!(bench.step(), Step::Idle(None)));
    assert!(bench.cpu.sleeps_for_good().unwrap());
    bench.post(DeliveryMode::Nmi, 0, 0);
    assert_eq!(bench.given().kind(), InterruptionKind::Nmi);
}

#[test]
fn an_unknown_msr_is_a_general_protection_fault_and_noted() {
    let mut bench = bench();
    bench.run(ExitReason::RDMSR, |state| {
        state.set_register(Reg::RCX, 0x1234_5678);
        state.set_field(Field::RO_VMEXIT_INSTR_LEN, 2);
    });
    assert_eq!(bench.register(Reg::RIP), RIP);
    assert_eq!(bench.given(), InterruptionInfo::new(InterruptionKind::HardwareException, 13, true));
    assert_eq!(bench.platform.unknown_msrs.list(), [(0x1234_5678, false, 1)]);
}

#[test]
fn real_mode_faults_have_no_error_code() {
    let mut bench = bench();
    bench.set_field(Field::CTRL_CR0_SHADOW, 0x10);
    bench.run(ExitReason::RDMSR, |state| state.set_register(Reg::RCX, 0x1234_5678));
    assert_eq!(bench.given(), InterruptionInfo::new(InterruptionKind::HardwareException, 13, false));
}

#[test]
fn long_mode_is_entered_by_efer_then_cr0() {
    let mut bench = bench();
    bench.run(ExitReason::CR_ACCESS, |state| {
        state.set_register(Reg::RAX, 1 << 5);
        state.set_field(Field::RO_EXIT_QUALIFIC, 4);
        state.set_field(Field::RO_VMEXIT_INSTR_LEN, 3);
    });
    assert_eq!(bench.field(Field::CTRL_CR4_SHADOW), 1 << 5);
    assert_eq!(bench.field(Field::GUEST_CR4), 1 << 5 | 1 << 13, "VMXE is forced and hidden");
    bench.run(ExitReason::WRMSR, |state| {
        state.set_register(Reg::RCX, 0xc000_0080);
        state.set_register(Reg::RAX, 1 << 8 | 1);
        state.set_register(Reg::RDX, 0);
        state.set_field(Field::RO_VMEXIT_INSTR_LEN, 2);
    });
    assert_eq!(bench.field(Field::GUEST_IA32_EFER), 1 << 8 | 1);
    bench.run(ExitReason::CR_ACCESS, |state| {
        state.set_register(Reg::RCX, 0xe000_0011);
        state.set_field(Field::RO_EXIT_QUALIFIC, 1 << 8);
        state.set_field(Field::RO_VMEXIT_INSTR_LEN, 3);
    });
    assert_eq!(bench.field(Field::GUEST_IA32_EFER), 1 << 10 | 1 << 8 | 1);
    let entry = EntryControls::from_bits_truncate(bench.field(Field::CTRL_VMENTRY_CONTROLS) as u32);
    assert!(entry.contains(EntryControls::GUEST_IA32E));
    assert_eq!(bench.field(Field::GUEST_CR0), 0x8000_0031, "CD and NW never, NE always");
    assert_eq!(bench.field(Field::CTRL_CR0_SHADOW), 0xe000_0011);
    assert_eq!(bench.register(Reg::RIP), RIP + 8);
    assert!(bench.script.with(|state| state.flushes) > 0);
}

#[test]
fn cr8_is_the_task_priority() {
    let mut bench = bench();
    bench.run(ExitReason::CR_ACCESS, |state| {
        state.set_register(Reg::RBX, 5);
        state.set_field(Field::RO_EXIT_QUALIFIC, 3 << 8 | 8);
        state.set_field(Field::RO_VMEXIT_INSTR_LEN, 4);
    });
    bench.set_register(Reg::RFLAGS, 2 | IF);
    bench.post(DeliveryMode::Fixed, 0x41, 0);
    assert!(!bench.given().is_valid(), "below the priority");
    bench.run(ExitReason::CR_ACCESS, |state| {
        state.set_field(Field::RO_EXIT_QUALIFIC, 6 << 8 | 1 << 4 | 8);
        state.set_field(Field::RO_VMEXIT_INSTR_LEN, 4);
    });
    assert_eq!(bench.register(Reg::RSI), 5);
    bench.run(ExitReason::CR_ACCESS, |state| {
        state.set_register(Reg::RBX, 0);
        state.set_field(Field::RO_EXIT_QUALIFIC, 3 << 8 | 8);
    });
    assert_eq!(bench.given(), external(0x41));
}

#[test]
fn ports_merge_narrow_reads_and_clear_with_wide_ones() {
    let mut bench = bench();
    for (width, expected) in
        [(0_u64, 0x1122_3344_5566_77ff_u64), (1, 0x1122_3344_5566_ffff), (3, 0xffff_ffff)]
    {
        bench.set_register(Reg::RAX, 0x1122_3344_5566_7788);
        bench.run(ExitReason::IO, move |state| {
            state.set_field(Field::RO_EXIT_QUALIFIC, 0x5555 << 16 | 1 << 3 | width);
        });
        assert_eq!(bench.register(Reg::RAX), expected);
    }
}

#[test]
fn a_write_reaches_the_device_and_retires() {
    let mut bench = bench();
    bench.set_register(Reg::RAX, 0xffff_ff00_0000_0007);
    bench.run(ExitReason::IO, |state| {
        state.set_field(Field::RO_EXIT_QUALIFIC, 0xf4 << 16 | 3);
        state.set_field(Field::RO_VMEXIT_INSTR_LEN, 1);
    });
    assert_eq!(*bench.events.0.lock().unwrap(), [SystemEvent::DebugExit(7)]);
    assert_eq!(bench.register(Reg::RIP), RIP + 1);
}

#[test]
fn mmio_is_decoded_without_length_or_linear_address() {
    let mut bench = bench();
    // mov eax, [ebx]: the I/O APIC's index register.
    let memory = bench.platform.ram.memory().clone();
    assert!(crate::x86_64::paging::GuestRam::write(&memory, RIP, &[0x8b, 0x03]));
    bench.set_register(Reg::RAX, u64::MAX);
    bench.set_register(Reg::RBX, 0xfec0_0000);
    let step = bench.run(ExitReason::EPT_VIOLATION, |state| {
        state.set_field(Field::GUEST_PHYSICAL_ADDRESS, 0xfec0_0000);
        state.set_field(Field::RO_EXIT_QUALIFIC, EptQualification::READ);
    });
    assert!(matches!(step, Step::Ran));
    assert_eq!((bench.register(Reg::RAX), bench.register(Reg::RIP)), (0, RIP + 2));
}

#[test]
fn what_cannot_be_carried_out_stops_the_guest_with_a_reason() {
    let cases: [(u64, u64, &str); 3] = [
        (0xd000_0000, EptQualification::FETCH, "fetch"),
        (0xd000_0000, EptQualification::READ | EptQualification::LINEAR_VALID, "page tables"),
        (
            0xd000_0000,
            EptQualification::READ | EptQualification::LINEAR_VALID | EptQualification::FINAL,
            "emulated",
        ),
    ];
    for (gpa, qualification, words) in cases {
        let mut bench = bench();
        // vmovups [rax], xmm0
        let memory = bench.platform.ram.memory().clone();
        assert!(crate::x86_64::paging::GuestRam::write(&memory, RIP, &[0xc5, 0xf8, 0x11, 0x00]));
        let step = bench.run(ExitReason::EPT_VIOLATION, move |state| {
            state.set_field(Field::GUEST_PHYSICAL_ADDRESS, gpa);
            state.set_field(Field::RO_EXIT_QUALIFIC, qualification);
        });
        match step {
            Step::Stopped(GuestStop::Impossible { what, registers }) => {
                assert!(what.contains(words), "{what}");
                assert!(registers.to_string().contains("rip=0x100000"));
            }
            other => panic!("{words}: {other:?}"),
        }
    }
}

#[test]
fn exits_on_mapped_ram_are_gone_through_but_not_for_ever() {
    let mut bench = bench();
    let touch = |state: &mut State| {
        state.set_field(Field::GUEST_PHYSICAL_ADDRESS, 0x2000);
        state.set_field(Field::RO_EXIT_QUALIFIC, EptQualification::READ);
    };
    for _ in 0..1000 {
        assert!(matches!(bench.run(ExitReason::EPT_VIOLATION, touch), Step::Ran));
    }
    assert!(matches!(bench.run(ExitReason::EPT_VIOLATION, touch), Step::Stopped(_)));
}

#[test]
fn a_triple_fault_tells_the_registers() {
    let mut bench = bench();
    match bench.run(ExitReason::TRIPLE_FAULT, |state| state.set_field(Field::GUEST_IDTR_LIMIT, 0xfff)) {
        Step::Stopped(GuestStop::TripleFault(registers)) => {
            assert!(registers.registers.contains(&("rip", RIP)));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_triple_fault_without_a_descriptor_table_is_a_reset() {
    let mut bench = bench();
    let step = bench.run(ExitReason::TRIPLE_FAULT, |state| state.set_field(Field::GUEST_IDTR_LIMIT, 0));
    assert!(matches!(step, Step::Stopped(GuestStop::ResetByShutdown)), "{step:?}");
}

#[test]
fn a_failed_entry_is_an_error_with_registers() {
    let mut bench = bench();
    bench.script.then(|_| ExitReason::INVALID_GUEST_STATE.0 | ExitReason::ENTRY_FAILURE);
    bench.bell.answer();
    let error = bench.cpu.step(&bench.bell).unwrap_err().to_string();
    assert!(error.contains("INVALID_GUEST_STATE") && error.contains("rip=0x100000"), "{error}");
}

#[test]
fn an_application_processor_waits_for_its_start_up() {
    let mut bench = bench_of(1);
    assert!(matches!(bench.step(), Step::Idle(None)));
    assert!(bench.cpu.sleeps_for_good().unwrap());
    bench.post(DeliveryMode::Init, 0, 1);
    assert!(matches!(bench.step(), Step::Idle(None)));
    bench.post(DeliveryMode::Startup, 0x9a, 1);
    bench.run(ExitReason::PREEMPTION_TIMER, |_| {});
    assert_eq!(bench.register(Reg::RIP), 0);
    assert_eq!(bench.field(Segment::Cs.base()), 0x9_a000);
    assert_eq!(bench.field(Segment::Cs.selector()), 0x9a00);
    assert_eq!(bench.field(Field::CTRL_CR0_SHADOW), 0x6000_0010);
    let entry = EntryControls::from_bits_truncate(bench.field(Field::CTRL_VMENTRY_CONTROLS) as u32);
    assert!(!entry.contains(EntryControls::GUEST_IA32E));
}

#[test]
fn unknown_exits_and_vmx_instructions_do_not_take_the_vmm_down() {
    for number in 0..100 {
        let mut bench = bench();
        let reason = ExitReason(number);
        match bench.run(reason, |state| state.set_field(Field::RO_VMEXIT_INSTR_LEN, 1)) {
            Step::Ran | Step::Idle(_) | Step::Stopped(_) => {}
        }
    }
    let mut bench = bench();
    bench.run(ExitReason::VMCALL, |_| {});
    assert_eq!(bench.given().vector(), 6);
}

/// Random exits with random fields: whatever comes, the VMM goes on or says why not.
#[test]
fn random_exits_never_panic() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let mut bench = bench();
    for _ in 0..20_000 {
        let reason = ExitReason((next() % 70) as u32);
        let values: Vec<u64> = (0..24).map(|_| next() >> (next() % 64)).collect();
        bench.script.then(move |state| {
            if !values[0].is_multiple_of(4) {
                enter(state);
            }
            let fields = [
                Field::RO_EXIT_QUALIFIC,
                Field::RO_VMEXIT_INSTR_LEN,
                Field::RO_IDT_VECTOR_INFO,
                Field::RO_IDT_VECTOR_ERROR,
                Field::RO_VMEXIT_IRQ_INFO,
                Field::RO_VMX_INSTR_INFO,
                Field::GUEST_PHYSICAL_ADDRESS,
                Field::GUEST_INTERRUPTIBILITY,
                Field::GUEST_CR3,
                Field::GUEST_CS_AR,
                Field::GUEST_SS_AR,
                Field::GUEST_CS_BASE,
            ];
            for (field, value) in fields.into_iter().zip(&values[1..]) {
                state.set_field(field, *value & field.width().mask());
            }
            for (reg, value) in [Reg::RIP, Reg::RFLAGS, Reg::RAX, Reg::RCX, Reg::RDX, Reg::RSI, Reg::RDI]
                .into_iter()
                .zip(&values[13..])
            {
                state.set_register(reg, *value);
            }
            reason.0
        });
        bench.bell.answer();
        match bench.cpu.step(&bench.bell) {
            Ok(Step::Ran | Step::Stopped(_)) | Err(_) => {}
            Ok(Step::Idle(_)) => bench.cpu.reset(&boot_state()).unwrap(),
        }
    }
}
