//! `rvmm doctor`: what this host can run, and how to fix what it cannot.

use std::env::consts::{ARCH, OS};
use std::io::{self, Write};

use hypervisor_framework::ReturnCode;
use hypervisor_framework::native::{self, Unavailable};
use hypervisor_framework::x86_64::VmOptions;
use vmm::config::EngineChoice;
use vmm::engine;

use crate::exit_code;

/// The command that gives a built program the entitlement.
const SIGN: &str = "codesign --entitlements hv.plist --force -s - \"$(command -v rvmm)\"";

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
    let facts = native::host_facts();
    let plain = |what, found: String| Finding { what, found, fix: None };
    let on_mac = facts.macos_version.is_some();
    let mut findings = vec![
        plain("rvmm", env!("CARGO_PKG_VERSION").to_owned()),
        plain("host", format!("{OS} {ARCH}")),
        plain("macOS", facts.macos_version.unwrap_or_else(|| "no: this host is not a Mac".to_owned())),
    ];
    if let Some(model) = facts.model {
        findings.push(plain("model", model));
    }
    if on_mac {
        findings.push(support(facts.hv_support));
    }
    let native = native::x86_64_hypervisor();
    let works = match &native {
        Err(reason) => {
            findings.push(Finding { what: "hvf", found: format!("no: {reason}"), fix: fix_for(reason) });
            false
        }
        Ok(hypervisor) => {
            let (finding, works) =
                entitlement(hypervisor.create_vm(VmOptions::empty()).err().map(|e| e.code));
            findings.push(finding);
            works
        }
    };
    findings.push(plain("soft", "yes: the software engine runs on every host".to_owned()));
    findings.push(chosen(native.is_ok() && !works));
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

fn fix_for(reason: &Unavailable) -> Option<String> {
    match reason {
        Unavailable::NotMacOs => None,
        Unavailable::OtherArchitecture => Some("x86_64 guests run with --engine soft on this Mac".to_owned()),
        Unavailable::NoHardware { .. } => Some("use --engine soft".to_owned()),
    }
}

/// Only trying tells whether the program may use the framework.
fn entitlement(code: Option<ReturnCode>) -> (Finding, bool) {
    let finding = |found: String, fix: Option<String>| Finding { what: "entitlement", found, fix };
    match code {
        None => {
            (finding("com.apple.security.hypervisor is present, a VM can be made".to_owned(), None), true)
        }
        Some(ReturnCode::DENIED) => (
            finding(
                "com.apple.security.hypervisor is missing".to_owned(),
                Some(format!("sign the program: {SIGN}")),
            ),
            false,
        ),
        Some(ReturnCode::BUSY) => {
            (finding("present; another VM of this process is alive".to_owned(), None), true)
        }
        Some(code) => (finding(format!("unknown: hv_vm_create answers {code}"), None), false),
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
