//! The portable tier against the interpreter: random programs in two machines, compared wherever compiled code is left.

use std::collections::HashMap;

use vm_memory::VolatileMemory;

use super::lockstep_test::{CODE_SIZE, Machine, Random, instruction};
use super::{Engine, EngineOptions};
use crate::block::{BlockId, Flow};
use crate::cpu::Trap;
use crate::cpu::control::Mode;
use crate::exit::Reason;
use crate::os::{Compiled, Exited};

const PROGRAMS: u64 = 400;
const STEPS: usize = 250;

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Between instructions.
    Border,
    /// In a trap that the guest, or the engine, goes on behind.
    Trapped,
    /// By an exit.
    Exit,
}

/// A machine whose blocks are compiled when they have been interpreted a few times.
struct Tiered {
    machine: Machine,
    seen: HashMap<BlockId, u32>,
    last: Option<(BlockId, Flow)>,
    /// A block is interpreted this often first.
    threshold: u32,
    runs: u64,
    compiled: u64,
}

fn trapped(engine: &mut Engine) -> End {
    if engine.cpu.take_trap().is_some() { End::Exit } else { End::Trapped }
}

impl Tiered {
    fn new(machine: Machine, threshold: u32) -> Self {
        Self { machine, seen: HashMap::new(), last: None, threshold, runs: 0, compiled: 0 }
    }

    /// One block interpreted, or compiled code run with a budget (0: never).
    fn step(&mut self, budget: u64) -> End {
        let engine = &mut self.machine.engine;
        if engine.boundary().is_some() {
            return End::Exit;
        }
        let id = match engine.find() {
            Ok(Some(id)) => id,
            Ok(None) => return End::Border,
            Err(Trap) => return trapped(engine),
        };
        let mode = engine.cpu.mode;
        if mode.has(Mode::SINGLE) {
            self.last = None;
            let step = engine.cpu.begin_step();
            let flow = engine.execute(id);
            return if engine.after_step(flow, step) == Flow::Trap { trapped(engine) } else { End::Border };
        }
        if let Some((last, flow)) = self.last.take()
            && flow as u8 <= Flow::Taken as u8
        {
            engine.chain(last, flow, id);
        }
        let seen = self.seen.entry(id).or_default();
        *seen += 1;
        if budget > 0
            && *seen > self.threshold
            && let Some(code) = compile(engine, id, &mut self.compiled)
            && let Some(least) = engine.cache.get(id).map(|block| u64::from(block.instructions))
            && let Some(host) = engine.cpu.mmu.lookup_fetch(engine.cpu.rip)
            && let Some(portable) = engine.cache.portable.as_mut()
        {
            self.runs += 1;
            portable.remember(code, host, mode.has(Mode::USER));
            let (exited, executed) = portable.run(&mut engine.cpu, code, budget.max(least));
            engine.cpu.instructions += executed;
            return if exited == Exited::Trap { trapped(engine) } else { End::Border };
        }
        let flow = engine.execute(id);
        self.last = Some((id, flow));
        if flow == Flow::Trap { trapped(engine) } else { End::Border }
    }
}

fn compile(engine: &mut Engine, id: BlockId, count: &mut u64) -> Option<Compiled> {
    if let Some(code) = engine.cache.get(id)?.compiled.get() {
        return Some(code);
    }
    let code = engine.cache.request(id, engine.cpu.mode, true, &engine.cpu.mailbox);
    assert!(code.is_some(), "64-bit code is compiled");
    *count += 1;
    code
}

#[test]
fn compiled_regions_do_what_interpreted_blocks_do() {
    let (mut runs, mut compiled, mut undefined) = (0, 0, 0);
    for program in 0..PROGRAMS {
        let mut random = Random::new(program ^ 0x5eed_0000);
        let mut code = Vec::new();
        while code.len() < CODE_SIZE - 64 {
            instruction(&mut random, &mut code);
            // Short loops are what gets hot.
            if random.below(6) == 0 {
                code.extend_from_slice(&[0x70 | random.below(16) as u8, -(random.below(40) as i8 + 2) as u8]);
            }
        }
        let seed = random.next();
        let options = EngineOptions {
            threshold: u32::MAX,
            cache_bytes: 1 << 20,
            ..EngineOptions::default().with_portable()
        };
        let mut plain = Tiered::new(Machine::new(&mut Random::new(seed), &code, options), 0);
        let threshold = program as u32 % 4;
        let mut tiered = Tiered::new(Machine::new(&mut Random::new(seed), &code, options), threshold);
        'program: for step in 0..STEPS {
            let at = tiered.machine.engine.cpu.rip();
            let scale = random.below(8);
            let budget = 1 + random.below(1 << scale);
            let end = tiered.step(budget);
            let count = tiered.machine.engine.cpu.instructions;
            let place = format!("program {program} step {step} from {at:#x}, {end:?}");
            let mut other = End::Border;
            for _ in 0..1000 {
                if other != End::Border
                    || end == End::Border && plain.machine.engine.cpu.instructions >= count
                {
                    break;
                }
                other = plain.step(0);
            }
            assert_eq!(end, other, "{place}");
            if end == End::Border {
                assert_eq!(plain.machine.engine.cpu.instructions, count, "instructions of {place}");
            }
            tiered.machine.engine.cpu.instructions = plain.machine.engine.cpu.instructions;
            let (one, two) = (plain.machine.state(), tiered.machine.state());
            if one.0[17] != two.0[17] && one.0[..17] == two.0[..17] {
                undefined += 1;
                break 'program;
            }
            assert_eq!(one, two, "{place}");
            if end == End::Exit {
                break;
            }
        }
        assert!(plain.machine.memory() == tiered.machine.memory(), "memory of program {program}");
        runs += tiered.runs;
        compiled += tiered.compiled;
    }
    assert_eq!(undefined, 0, "programs end with other flags");
    assert!(compiled > PROGRAMS && runs > 10 * PROGRAMS, "{compiled} regions, {runs} runs");
}

/// A machine that runs `code`, and exits with #BP behind it.
fn machine(code: &[u8], threshold: u32) -> Machine {
    let options =
        EngineOptions { threshold, cache_bytes: 1 << 20, ..EngineOptions::default().with_portable() };
    let mut bytes = vec![0xcc; CODE_SIZE - 64];
    bytes[0x800..][..code.len()].copy_from_slice(code);
    let mut machine = Machine::new(&mut Random::new(1), &bytes, options);
    machine.engine.cpu.set_gpr(0, 0);
    machine
}

fn run(machine: &mut Machine) -> (u64, Reason) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let exit = machine.engine.run(Some(deadline));
    (machine.engine.cpu.gpr(0), exit.reason)
}

fn is_compiled(machine: &Machine) -> bool {
    let cache = &machine.engine.cache;
    (0..).map_while(|id| cache.get(id)).any(|block| block.compiled.get().is_some())
}

#[test]
fn a_hot_loop_is_compiled_in_the_background_and_dropped_when_it_is_overwritten() {
    // again: mov rcx, 20,000,000; loop: add rax, rcx; add rax, [rbx]; dec rcx; jnz loop; int3
    let code = [
        &[0x48, 0xc7, 0xc1, 0x00, 0x2d, 0x31, 0x01][..],
        &[0x48, 0x01, 0xc8, 0x48, 0x03, 0x03, 0x48, 0xff, 0xc9, 0x75, 0xf5, 0xcc],
    ]
    .concat();
    let mut machine = machine(&code, 1000);
    let start = machine.engine.cpu.rip();
    let count = 20_000_000_u64;
    assert_eq!(run(&mut machine).0, count * (count + 1) / 2);
    assert!(is_compiled(&machine), "nothing was compiled");
    // A fault in compiled code leaves the state of the instruction that faulted.
    machine.engine.cpu.set_gpr(0, 0);
    machine.engine.cpu.set_gpr(3, 0x2_4000);
    machine.engine.cpu.set_rip(start);
    let (sum, reason) = run(&mut machine);
    assert!(matches!(reason, Reason::Exception { .. }), "{reason:?}");
    assert_eq!((sum, machine.engine.cpu.rip()), (count, start + 10));
    assert_eq!(machine.engine.cpu.gpr(1), count);
    // Other code in its place: sub rax, rcx.
    machine.engine.cpu.set_gpr(0, 0);
    machine.engine.cpu.set_gpr(3, 0x2_0000);
    machine.engine.cpu.set_rip(start);
    machine.ram.get_slice(start as usize + 8, 1).unwrap().copy_from(&[0x29_u8]);
    assert_eq!(run(&mut machine).0, (count * (count + 1) / 2).wrapping_neg());
}
