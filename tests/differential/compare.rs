//! What differs between two outcomes.

use iced_x86::OpKind;

use crate::case::Case;
use crate::known::{self, Rule};
use crate::place::number;
use crate::state::{End, Image, Outcome, RCX, WINDOW, flag};

/// RFLAGS bits that are compared; RF depends on how a state is taken.
const FLAGS: u64 = flag::ARITHMETIC | flag::DF | flag::NT | flag::AC | flag::ID | flag::IF;
/// x87 status: precision, underflow, and C1, which tells of rounding; and the summary of exceptions.
const ROUNDING: u16 = 0x82b0;

const NAMES: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
    "r15",
];

/// An outcome with the writable window.
pub(crate) struct Result<'a> {
    pub(crate) outcome: &'a Outcome,
    pub(crate) window: &'a [u8],
}

/// Has the host accepted a bit of MXCSR that the guest does not have? AMD's processors keep alignment checks off with it.
pub(crate) fn is_beyond(host: &Outcome) -> bool {
    host.state.image.u32(24) & 0xffff_0000 != 0
}

/// Lines of differences; none if the outcomes agree.
pub(crate) fn differences(case: &Case, host: &Result<'_>, engine: &Result<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    let mut note = |what: &str, host: String, engine: String| {
        lines.push(format!("{what}: host {host}, engine {engine}"));
    };
    let (a, b) = (host.outcome, engine.outcome);
    let single = if case.instructions.len() == 1 { case.instructions.first() } else { None };
    let faults = matches!(a.end, End::Fault(_));
    let last = case.instructions.iter().find(|insn| faults && insn.ip() == a.state.rip);
    let rule = single.or(last).and_then(known::rule);
    let count = case.state.gpr[RCX] as u8;
    let undefined = single.filter(|insn| known::undefined_result(insn, count));
    if !same_end(case, a, b) {
        note("end", format!("{:x?}", a.end), format!("{:x?}", b.end));
    }
    if a.state.rip != b.state.rip {
        note("rip", format!("{:x}", a.state.rip), format!("{:x}", b.state.rip));
    }
    let hidden = undefined.filter(|insn| insn.op0_kind() == OpKind::Register);
    let partial = last.is_some_and(known::leaves_registers);
    for (i, name) in NAMES.iter().enumerate().filter(|_| !partial) {
        let (x, y) = (a.state.gpr[i], b.state.gpr[i]);
        if x != y && hidden.and_then(|insn| number(insn.op0_register())) != Some(i) {
            note(name, format!("{x:x}"), format!("{y:x}"));
        }
    }
    let flags = FLAGS & !case.undefined_at(a);
    let (x, y) = (a.state.rflags & flags, b.state.rflags & flags);
    if x != y && undefined.is_none() {
        note("rflags", flag_names(x), flag_names(y));
    }
    if !(faults && rule == Some(Rule::Transition)) {
        image(&a.state.image, &b.state.image, rule, &mut note);
        upper(&a.state.upper, &b.state.upper, rule, &mut note);
    }
    if undefined.is_none_or(|insn| insn.op0_kind() != OpKind::Memory) {
        window(host.window, engine.window, &mut note);
    }
    lines
}

/// A kernel's pages may be present without being readable: their #PF says so, ours cannot.
fn same_end(case: &Case, host: &Outcome, engine: &Outcome) -> bool {
    let at = case.instructions.iter().find(|insn| insn.ip() == host.state.rip);
    match (&host.end, &engine.end) {
        (End::Fault(a), End::Fault(b)) if at.is_some_and(|insn| known::same_fault(insn, a, b)) => true,
        (End::Fault(a), End::Fault(b)) if a.vector == 14 && b.vector == 14 && a.address >> 47 == 0x1_ffff => {
            a.address == b.address && a.error & !1 == b.error & !1
        }
        (a, b) => a == b,
    }
}

fn image(a: &Image, b: &Image, rule: Option<Rule>, note: &mut dyn FnMut(&str, String, String)) {
    let mask = match rule {
        Some(Rule::Transcendental) => !ROUNDING,
        Some(Rule::OutOfRange) => 0,
        Some(Rule::ConditionOne) => !0x200,
        _ => !0,
    };
    let in_use = if rule == Some(Rule::OutOfRange) { 0 } else { 0xff };
    let words = [
        ("x87 control", u32::from(a.u16(0)), u32::from(b.u16(0))),
        ("x87 status", u32::from(a.u16(2) & mask), u32::from(b.u16(2) & mask)),
        ("x87 in use", u32::from(a.0[4] & in_use), u32::from(b.0[4] & in_use)),
        ("mxcsr", a.u32(24), b.u32(24)),
    ];
    for (what, x, y) in words {
        if x != y {
            note(what, format!("{x:x}"), format!("{y:x}"));
        }
    }
    for i in 0..8 {
        let (x, y) = (a.st(i), b.st(i));
        if x != y && !matches!(rule, Some(Rule::Transcendental | Rule::OutOfRange)) {
            note(&format!("st{i}"), format!("{:04x}:{:016x}", x.0, x.1), format!("{:04x}:{:016x}", y.0, y.1));
        }
    }
    for i in 0..16 {
        let (x, y) = (a.xmm(i), b.xmm(i));
        if x != y && !(rule == Some(Rule::Approximate) && close(x, y)) {
            note(&format!("xmm{i}"), format!("{x:032x}"), format!("{y:032x}"));
        }
    }
}

fn upper(a: &[u128; 16], b: &[u128; 16], rule: Option<Rule>, note: &mut dyn FnMut(&str, String, String)) {
    for (i, (&x, &y)) in a.iter().zip(b).enumerate() {
        if x != y && !(rule == Some(Rule::Approximate) && close(x, y)) {
            note(&format!("upper half of ymm{i}"), format!("{x:032x}"), format!("{y:032x}"));
        }
    }
}

/// Do four single-precision values agree but for an approximation's error?
fn close(a: u128, b: u128) -> bool {
    (0..4).all(|lane| {
        let of = |value: u128| f32::from_bits((value >> (32 * lane)) as u32);
        let (x, y) = (of(a), of(b));
        // Approximations flush results below 2^-126 to 0, at the edge or beyond it.
        let tiny = x.abs() <= 2.0 * f32::MIN_POSITIVE && y.abs() <= 2.0 * f32::MIN_POSITIVE;
        x.to_bits() == y.to_bits() || tiny || ((x - y) / x).abs() <= 1.5 / 4096.0 * 2.0
    })
}

fn window(a: &[u8], b: &[u8], note: &mut dyn FnMut(&str, String, String)) {
    if a == b {
        return;
    }
    let places: Vec<usize> = (0..a.len()).filter(|&i| a[i] != b[i]).collect();
    let (Some(&first), Some(&last)) = (places.first(), places.last()) else { return };
    let end = last.min(first + 31) + 1;
    let text = |bytes: &[u8]| bytes[first..end].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    note(&format!("memory at {:x} ({} bytes)", WINDOW + first as u64, places.len()), text(a), text(b));
}

fn flag_names(flags: u64) -> String {
    let names = [
        (flag::CF, "CF"),
        (flag::PF, "PF"),
        (flag::AF, "AF"),
        (flag::ZF, "ZF"),
        (flag::SF, "SF"),
        (flag::IF, "IF"),
        (flag::DF, "DF"),
        (flag::OF, "OF"),
        (flag::NT, "NT"),
        (flag::AC, "AC"),
        (flag::ID, "ID"),
    ];
    let set: Vec<_> = names.iter().filter(|(bit, _)| flags & bit != 0).map(|&(_, name)| name).collect();
    format!("[{}]", set.join(" "))
}
