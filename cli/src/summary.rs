//! The boot report, for people and for programs.

use std::fmt::Write;

use serde_json::json;
use vmm::{Outcome, Report};

use crate::args::ReportStyle;

/// Rows of the longer lists in the text report.
const MAX_ROWS: usize = 12;

/// The report, ending in a line end.
pub(crate) fn report(style: ReportStyle, outcome: &Outcome, code: u8) -> String {
    match style {
        ReportStyle::Json => {
            let mut line = json!(outcome.report);
            line["exit_code"] = json!(code);
            line["stop"] = json!(outcome.reason);
            format!("{line}\n")
        }
        ReportStyle::Text => text(outcome),
    }
}

fn text(outcome: &Outcome) -> String {
    let report = &outcome.report;
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write_text(&mut out, outcome, report);
    out
}

fn write_text(out: &mut String, outcome: &Outcome, report: &Report) -> std::fmt::Result {
    writeln!(out, "ended: {}", outcome.reason)?;
    let memory = report.memory_bytes >> 20;
    writeln!(out, "engine {}, {} vCPU, {memory} MiB", report.engine, report.cpus)?;
    for phase in &report.phases {
        writeln!(out, "{:>12.1} ms  {}", milliseconds(phase.at_us), phase.name.replace('_', " "))?;
    }
    if let Some(instructions) = report.guest_instructions {
        writeln!(out, "{instructions} guest instructions{}", rate(instructions, report.run_us()))?;
    }
    if let (Some(resident), Some(own)) = (report.resident, report.own_bytes()) {
        writeln!(out, "{:.1} MiB resident", mebibytes(resident.process_bytes))?;
        writeln!(out, "{:>12.1}  guest memory", mebibytes(resident.guest_bytes))?;
        writeln!(out, "{:>12.1}  the engine's caches", mebibytes(report.engine_cache_bytes.unwrap_or(0)))?;
        writeln!(out, "{:>12.1}  rvmm besides", mebibytes(own))?;
    }
    if report.resets > 0 {
        writeln!(out, "{} guest resets", report.resets)?;
    }
    let exits: u64 = report.exits.iter().map(|exit| exit.count).sum();
    writeln!(out, "{exits} exits")?;
    for exit in report.exits.iter().take(MAX_ROWS) {
        writeln!(out, "{:>12}  {}", exit.count, exit.reason)?;
    }
    writeln!(out, "{} console bytes, {} dropped", report.console_bytes, report.console_bytes_dropped)?;
    if !report.unknown_accesses.is_empty() {
        writeln!(out, "accesses to what is not there:")?;
    }
    for access in report.unknown_accesses.iter().take(MAX_ROWS) {
        let what = if access.write { "write" } else { "read" };
        writeln!(out, "{:>12}  {} {:#x} {what}", access.count, access.space, access.address)?;
    }
    if let Some(more) = report.unknown_accesses.len().checked_sub(MAX_ROWS).filter(|more| *more > 0) {
        writeln!(out, "{more:>12}  more")?;
    }
    Ok(())
}

fn milliseconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1000.0
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Millions a second over the whole run.
fn rate(instructions: u64, microseconds: Option<u64>) -> String {
    match microseconds.and_then(|microseconds| instructions.checked_div(microseconds)) {
        Some(millions) => format!(", {millions} million a second"),
        None => String::new(),
    }
}
