//! Whole-engine tests: code that changes under the CPU, other CPUs and the host; kicks; mappings that go away.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use vm_memory::{Bytes, VolatileMemory};

use super::Engine;
use crate::{
    DescriptorTable, HostRegion, PhysicalMemory, Reason, Rights, Segment, SegmentRegister, TimeSource,
    WriteWatch,
};

const RAM: usize = 1 << 20;
const CODE: u64 = 0x1000;
const DATA: u64 = 0x8000;
const ALL: Rights = Rights { read: true, write: true, execute: true };

struct Stopped;

impl TimeSource for Stopped {
    fn tsc(&self) -> u64 {
        0
    }
}

struct Machine {
    memory: Arc<PhysicalMemory>,
    ram: Arc<HostRegion>,
}

impl Machine {
    fn new() -> Self {
        let memory = PhysicalMemory::new();
        let ram = Arc::new(vm_memory::MmapRegion::<WriteWatch>::new(RAM).unwrap());
        memory.map(&ram, 0, 0, RAM, ALL).unwrap();
        Self { memory, ram }
    }

    /// As a device would: through vm-memory, which marks what it writes.
    fn write(&self, gpa: u64, bytes: &[u8]) {
        self.ram.as_volatile_slice().write_slice(bytes, gpa as usize).unwrap();
    }

    /// A CPU in 32-bit flat mode without paging, at [`CODE`].
    fn cpu(&self) -> Engine {
        let mut engine = Engine::new(&self.memory, Arc::new(Stopped));
        let cpu = &mut engine.cpu;
        cpu.set_cr(0, 0x11);
        let flat = |rights| Segment { selector: 8, base: 0, limit: u32::MAX, access_rights: rights };
        cpu.set_segment(SegmentRegister::Cs, flat(0xc09b));
        for register in [SegmentRegister::Ss, SegmentRegister::Ds, SegmentRegister::Es] {
            cpu.set_segment(register, flat(0xc093));
        }
        cpu.set_idtr(DescriptorTable { base: 0, limit: 0 });
        cpu.set_gpr(4, 0x7000);
        cpu.set_rip(CODE);
        engine
    }
}

fn run(engine: &mut Engine) -> Reason {
    engine.run(Some(Instant::now() + Duration::from_secs(20))).reason
}

fn al(engine: &Engine) -> u8 {
    engine.cpu.gpr(0) as u8
}

/// mov al, N; hlt
fn answer(n: u8) -> [u8; 3] {
    [0xb0, n, 0xf4]
}

#[test]
fn code_that_overwrites_the_next_instruction_sees_it() {
    let machine = Machine::new();
    // mov byte [next + 1], 7; next: mov al, 1; hlt
    let next = (CODE + 7 + 1) as u32;
    let mut code = vec![0xc6, 0x05];
    code.extend(next.to_le_bytes());
    code.push(7);
    code.extend(answer(1));
    machine.write(CODE, &code);
    let mut engine = machine.cpu();
    assert_eq!(run(&mut engine), Reason::Hlt);
    assert_eq!(al(&engine), 7);
}

#[test]
fn code_written_by_a_device_is_seen() {
    let machine = Machine::new();
    machine.write(CODE, &answer(1));
    let mut engine = machine.cpu();
    assert_eq!(run(&mut engine), Reason::Hlt);
    assert_eq!(al(&engine), 1);

    machine.write(CODE, &answer(2));
    engine.cpu.set_rip(CODE);
    assert_eq!(run(&mut engine), Reason::Hlt);
    assert_eq!(al(&engine), 2);
}

#[test]
fn code_written_by_another_cpu_is_seen() {
    let machine = Machine::new();
    machine.write(CODE, &answer(1));
    // mov byte [CODE + 1], 9; hlt
    let mut patch = vec![0xc6, 0x05];
    patch.extend((CODE as u32 + 1).to_le_bytes());
    patch.extend([9, 0xf4]);
    machine.write(DATA, &patch);
    let mut reader = machine.cpu();
    assert_eq!(run(&mut reader), Reason::Hlt);
    let mut writer = machine.cpu();
    writer.cpu.set_rip(DATA);
    assert_eq!(run(&mut writer), Reason::Hlt);
    reader.cpu.set_rip(CODE);
    assert_eq!(run(&mut reader), Reason::Hlt);
    assert_eq!(al(&reader), 9);
}

#[test]
fn two_cpus_that_write_each_others_code_agree() {
    // Each CPU patches a byte of the other's loop, then waits until its own has been patched.
    let machine = Machine::new();
    let (a, b) = (0x2000_u64, 0x3000_u64);
    let program = |own: u64, other: u64| {
        // mov byte [other + 9], 1; again: call own + 8 ...; see below
        let mut code = vec![0xc6, 0x05];
        code.extend((other as u32 + 8).to_le_bytes());
        code.push(5); // own + 7: the instruction below
        code.extend([0xb0, 0]); // own + 7: mov al, 0 (patched to 5)
        code.extend([0x0f, 0xa2]); // own + 9: cpuid exits, and serialises
        assert_eq!(own & 0xfff, 0);
        code
    };
    machine.write(a, &program(a, b));
    machine.write(b, &program(b, a));
    let one = |start: u64| {
        let mut engine = machine.cpu();
        engine.cpu.set_rip(start);
        thread::spawn(move || {
            let deadline = Instant::now() + Duration::from_secs(20);
            while Instant::now() < deadline {
                assert_eq!(run(&mut engine), Reason::Cpuid);
                if al(&engine) == 5 {
                    return true;
                }
                engine.cpu.set_rip(start + 7);
            }
            false
        })
    };
    let (first, second) = (one(a), one(b));
    assert!(first.join().unwrap());
    assert!(second.join().unwrap());
}

#[test]
fn an_instruction_across_pages_follows_both() {
    let machine = Machine::new();
    // mov eax, imm32 with the immediate in the next page.
    let start = 0x1ffe_u64;
    machine.write(start, &[0xb8, 1, 2, 3, 4, 0xf4]);
    let mut engine = machine.cpu();
    engine.cpu.set_rip(start);
    assert_eq!(run(&mut engine), Reason::Hlt);
    assert_eq!(engine.cpu.gpr(0), 0x0403_0201);
    machine.write(0x2000, &[9]);
    engine.cpu.set_rip(start);
    assert_eq!(run(&mut engine), Reason::Hlt);
    assert_eq!(engine.cpu.gpr(0), 0x0403_0901);
}

#[test]
fn a_block_cut_off_by_the_page_goes_on_behind_it() {
    let machine = Machine::new();
    // Three bytes of instructions, then a five-byte one that crosses the page: the block before must end right.
    let start = 0x1ffa_u64;
    machine.write(start, &[0x40, 0x40, 0x40, 0x05, 5, 0, 0, 0, 0xf4]); // 3 × inc eax; add eax, 5; hlt
    let mut engine = machine.cpu();
    engine.cpu.set_rip(start);
    engine.cpu.set_gpr(0, 0);
    assert_eq!(run(&mut engine), Reason::Hlt);
    assert_eq!(engine.cpu.gpr(0), 8);
}

#[test]
fn a_kick_stops_a_loop_and_is_lost_outside() {
    let machine = Machine::new();
    machine.write(CODE, &[0xeb, 0xfe]); // jmp to itself
    let mut engine = machine.cpu();
    engine.kicker().kick();
    let lost = engine.run(Some(Instant::now() + Duration::from_millis(20)));
    assert_eq!(lost.reason, Reason::Deadline);

    let kicker = engine.kicker();
    let kicking = thread::spawn(move || {
        for _ in 0..2000 {
            thread::sleep(Duration::from_millis(1));
            kicker.kick();
        }
    });
    assert_eq!(run(&mut engine), Reason::Kicked);
    drop(kicking);
}

#[test]
fn unmapped_memory_is_gone_for_a_running_cpu() {
    let machine = Machine::new();
    // again: mov al, [DATA]; jmp again
    let mut code = vec![0xa0];
    code.extend((DATA as u32).to_le_bytes());
    code.extend([0xeb, 0xf9]);
    machine.write(CODE, &code);
    let mut engine = machine.cpu();
    let runner = thread::spawn(move || run(&mut engine));
    thread::sleep(Duration::from_millis(50));
    machine.memory.unmap(DATA, 0x1000).unwrap();
    match runner.join().unwrap() {
        Reason::Memory(violation) => {
            assert_eq!(violation.gpa, DATA);
            assert_eq!(violation.allowed, (false, false, false));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn locked_increments_of_two_cpus_all_count() {
    let machine = Machine::new();
    // mov ecx, 50000; again: lock inc dword [DATA]; loop again; hlt
    let mut code = vec![0xb9];
    code.extend(50_000_u32.to_le_bytes());
    code.extend([0xf0, 0xff, 0x05]);
    code.extend((DATA as u32).to_le_bytes());
    code.extend([0xe2, 0xf7, 0xf4]);
    machine.write(CODE, &code);
    let runners: Vec<_> = (0..2)
        .map(|_| {
            let mut engine = machine.cpu();
            thread::spawn(move || assert_eq!(run(&mut engine), Reason::Hlt))
        })
        .collect();
    for runner in runners {
        runner.join().unwrap();
    }
    let count: u32 = machine.ram.as_volatile_slice().read_obj(DATA as usize).unwrap();
    assert_eq!(count, 100_000);
}
