//! `rvmm doctor`: what this host can run, and how to fix what it cannot.

use std::env::consts::{ARCH, OS};
use std::io::{self, Write};

use vmm::config::EngineChoice;
use vmm::engine::{self, Framework, HostReport, Unavailable};

use crate::exit_code;

/// The command that gives a built program the entitlement.
const SIGN: &str =
    "codesign --entitlements scripts/apple/rvmm.entitlements --force -s - \"$(command -v rvmm)\"";

/// A line of the diagnosis.
struct Finding {
    what: &'static str,
    found: String,
    fix: Option<String>,
}

/// Prints the diagnosis; success if some engine can run.
pub(crate) fn run() -> u8 {
    let mut text = String::new();
    for finding in findings() {
        text.push_str(&format!("{:<24} {}\n", finding.what, finding.found));
        if let Some(fix) = finding.fix {
            text.push_str(&format!("{:<24} → {fix}\n", ""));
        }
    }
    // A reader that went away has seen what it wanted.
    let _ = io::stdout().lock().write_all(text.as_bytes());
    exit_code::SUCCESS
}

fn findings() -> Vec<Finding> {
    let HostReport { macos_version, model, hv_support, framework } = engine::inspect_host();
    let plain = |what, found: String| Finding { what, found, fix: None };
    let on_mac = macos_version.is_some();
    let mut findings = vec![
        plain("rvmm", env!("CARGO_PKG_VERSION").to_owned()),
        plain("host", format!("{OS} {ARCH}")),
        plain("macOS", macos_version.unwrap_or_else(|| "no: this host is not a Mac".to_owned())),
    ];
    findings.extend(model.map(|model| plain("model", model)));
    if on_mac {
        findings.push(support(hv_support));
    }
    findings.push(native(&framework));
    findings.push(plain("soft", "yes: the software engine runs on every host".to_owned()));
    findings.push(chosen(matches!(framework, Framework::NotEntitled | Framework::Fails(_))));
    findings
}

fn support(value: Option<bool>) -> Finding {
    let (found, fix) = match value {
        Some(true) => ("1", None),
        Some(false) => {
            ("0", Some("this CPU cannot virtualize, or the Mac is itself virtual: use --engine soft"))
        }
        None => ("absent", Some("macOS 10.10 or newer is needed for hvf: use --engine soft")),
    };
    Finding { what: "kern.hv_support", found: found.to_owned(), fix: fix.map(str::to_owned) }
}

fn native(framework: &Framework) -> Finding {
    let (found, fix) = match framework {
        Framework::Works => (
            "yes: entitled (com.apple.security.hypervisor), a virtual machine could be made".to_owned(),
            None,
        ),
        Framework::Absent(reason) => (format!("no: {reason}"), fix_for(reason)),
        Framework::NotEntitled => (
            "no: the program lacks the entitlement com.apple.security.hypervisor".to_owned(),
            Some(format!("sign it: {SIGN}")),
        ),
        Framework::Fails(error) => (format!("no: {error}"), Some("use --engine soft".to_owned())),
    };
    Finding { what: "hvf", found, fix }
}

fn fix_for(reason: &Unavailable) -> Option<String> {
    match reason {
        Unavailable::NotMacOs => None,
        Unavailable::OtherArchitecture => Some("x86_64 guests run with --engine soft on this Mac".to_owned()),
        Unavailable::NoHardware { .. } => Some("use --engine soft".to_owned()),
    }
}

fn chosen(broken: bool) -> Finding {
    let found = match engine::select(EngineChoice::Auto) {
        Ok(engine) => format!("--engine auto takes {}: {}", engine.name, engine.why),
        Err(error) => format!("none: {error}"),
    };
    let fix = broken.then(|| "it will fail until the above is fixed; --engine soft works now".to_owned());
    Finding { what: "engine", found, fix }
}
