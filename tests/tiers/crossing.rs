//! Code that one CPU changes while another executes it (SDM vol. 3, 10.1.3).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use engine::{
    Engine, EngineOptions, HostRegion, PhysicalMemory, Reason, Rights, Segment, SegmentRegister, TimeSource,
};
use iced_x86::code_asm::{
    AsmRegister32, CodeAssembler, dword_ptr, eax, ebx, ecx, edx, qword_ptr, r8d, rax, rsi,
};
use vm_memory::VolatileMemory;

const RAM: usize = 1 << 20;
const TABLES: usize = 0x1000;
const WRITER: usize = 0x1_0000;
const READER: usize = 0x1_1000;
/// Its one instruction is changed: `mov eax, n`.
const FUNCTION: usize = 0x2_0100;
/// How far the writer is, how far the reader is, what the reader saw; a cache line each.
const ASKED: i32 = 0x3_0000;
const DONE: i32 = 0x3_0040;
const SEEN: i32 = 0x3_0080;
const ROUNDS: u32 = 1_000;
/// Looks at a word before a CPU leaves the guest, so that the other one gets the host's.
const LOOKS: i32 = 200;

struct Stopped;

impl TimeSource for Stopped {
    fn tsc(&self) -> u64 {
        0
    }
}

/// Waits until a word has a value.
fn look(a: &mut CodeAssembler, word: i32, value: AsmRegister32) {
    let (mut wait, mut there) = (a.create_label(), a.create_label());
    a.mov(r8d, LOOKS).unwrap();
    a.set_label(&mut wait).unwrap();
    a.cmp(dword_ptr(word), value).unwrap();
    a.je(there).unwrap();
    a.dec(r8d).unwrap();
    a.jne(wait).unwrap();
    a.mov(r8d, LOOKS).unwrap();
    a.cpuid().unwrap();
    a.jmp(wait).unwrap();
    a.set_label(&mut there).unwrap();
}

/// Writes a new number into the function, says so, waits for the reader, looks at what it saw.
fn writer() -> Vec<u8> {
    let mut a = CodeAssembler::new(64).unwrap();
    let (mut round, mut wrong) = (a.create_label(), a.create_label());
    a.xor(ebx, ebx).unwrap();
    a.mov(rsi, FUNCTION as u64 + 1).unwrap();
    a.set_label(&mut round).unwrap();
    a.inc(ebx).unwrap();
    a.mov(dword_ptr(rsi), ebx).unwrap();
    a.mov(dword_ptr(ASKED), ebx).unwrap();
    look(&mut a, DONE, ebx);
    a.cmp(dword_ptr(SEEN), ebx).unwrap();
    a.jne(wrong).unwrap();
    a.cmp(ebx, ROUNDS as i32).unwrap();
    a.jne(round).unwrap();
    a.hlt().unwrap();
    a.set_label(&mut wrong).unwrap();
    a.ud2().unwrap();
    a.assemble(WRITER as u64).unwrap()
}

/// Waits for a new number, serializes by an IRET, calls the function, says what it saw.
fn reader() -> Vec<u8> {
    let mut a = CodeAssembler::new(64).unwrap();
    let (mut round, mut behind) = (a.create_label(), a.create_label());
    a.xor(ecx, ecx).unwrap();
    a.set_label(&mut round).unwrap();
    a.inc(ecx).unwrap();
    look(&mut a, ASKED, ecx);
    a.mov(rsi, iced_x86::code_asm::rsp).unwrap();
    a.mov(eax, iced_x86::code_asm::ss).unwrap();
    a.push(rax).unwrap();
    a.push(rsi).unwrap();
    a.pushfq().unwrap();
    a.mov(eax, iced_x86::code_asm::cs).unwrap();
    a.push(rax).unwrap();
    a.lea(rax, qword_ptr(behind)).unwrap();
    a.push(rax).unwrap();
    a.iretq().unwrap();
    a.set_label(&mut behind).unwrap();
    a.call(FUNCTION as u64).unwrap();
    a.mov(edx, eax).unwrap();
    a.mov(dword_ptr(SEEN), edx).unwrap();
    a.mov(dword_ptr(DONE), ecx).unwrap();
    a.cmp(ecx, ROUNDS as i32).unwrap();
    a.jne(round).unwrap();
    a.hlt().unwrap();
    a.assemble(READER as u64).unwrap()
}

fn cpu(memory: &Arc<PhysicalMemory>, jit: bool, rip: usize, stack: usize) -> Engine {
    let options = EngineOptions { jit, threshold: 0, cache_bytes: 1 << 20, ..EngineOptions::default() };
    let mut engine = Engine::with_options(memory, Arc::new(Stopped), options);
    let cpu = &mut engine.cpu;
    cpu.set_cr(0, 0x8005_0033);
    cpu.set_cr(3, TABLES as u64);
    cpu.set_cr(4, 0x6a0);
    cpu.set_efer(0xd01);
    let data = Segment { selector: 16, base: 0, limit: u32::MAX, access_rights: 0xc093 };
    cpu.set_segment(SegmentRegister::Cs, Segment { selector: 8, access_rights: 0xa09b, ..data });
    for register in [SegmentRegister::Ss, SegmentRegister::Ds, SegmentRegister::Es] {
        cpu.set_segment(register, data);
    }
    cpu.set_gdtr(engine::DescriptorTable { base: 0x6000, limit: 0x17 });
    cpu.set_gpr(4, stack as u64);
    cpu.set_rip(rip as u64);
    cpu.set_rflags(2);
    cpu.intercepts.exceptions = !0;
    cpu.flush_tlb();
    engine
}

fn cross(writer_jit: bool, reader_jit: bool) {
    let memory = PhysicalMemory::new();
    let ram = Arc::new(HostRegion::new(RAM).unwrap());
    memory.map(&ram, 0, 0, RAM, Rights { read: true, write: true, execute: true }).unwrap();
    let write = |at: usize, bytes: &[u8]| ram.get_slice(at, bytes.len()).unwrap().copy_from(bytes);
    for level in 0..2 {
        write(TABLES + 0x1000 * level, &((TABLES + 0x1000 * (level + 1)) as u64 | 3).to_le_bytes());
    }
    write(TABLES + 0x2000, &0x83_u64.to_le_bytes());
    write(0x6008, &0x00af_9b00_0000_ffff_u64.to_le_bytes());
    write(0x6010, &0x00cf_9300_0000_ffff_u64.to_le_bytes());
    write(WRITER, &writer());
    write(READER, &reader());
    write(FUNCTION, &[0xb8, 0, 0, 0, 0, 0xc3]);
    let late = Arc::new(AtomicBool::new(false));
    let engines = [cpu(&memory, writer_jit, WRITER, 0x4_0000), cpu(&memory, reader_jit, READER, 0x5_0000)];
    let until = Instant::now() + Duration::from_secs(120);
    let ends: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = engines
            .into_iter()
            .map(|mut engine| {
                let late = late.clone();
                scope.spawn(move || {
                    loop {
                        let exit = engine.run(Some(Instant::now() + Duration::from_millis(100)));
                        if exit.reason == Reason::Cpuid && !late.load(Ordering::SeqCst) {
                            let rip = engine.cpu.rip();
                            engine.cpu.set_rip(rip + u64::from(exit.instruction_length));
                            std::thread::yield_now();
                        } else if exit.reason != Reason::Deadline || late.load(Ordering::SeqCst) {
                            late.fetch_or(exit.reason != Reason::Hlt, Ordering::SeqCst);
                            return (exit.reason, engine.cpu.gpr(3), engine.cpu.gpr(1));
                        }
                        late.fetch_or(Instant::now() > until, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (reason, asked, answered) in ends {
        assert_eq!(reason, Reason::Hlt, "writer at {asked}, reader at {answered}");
    }
}

#[test]
fn interpreted_code_that_another_cpu_changes() {
    cross(false, false);
}

#[test]
fn translated_code_that_another_cpu_changes() {
    cross(true, true);
    cross(false, true);
    cross(true, false);
}
