//! Open questions about the real framework, asked of whatever provider is present.
//!
//! On a Mac the report settles the rows of `UNKNOWNS.md`; with the software engine it shows how its switches stand.
//! Each question makes its own small VM, so one that fails does not spoil the others.

mod capabilities;
mod foreign_thread;
mod machine;
mod memory;
mod msr;
mod registers;
mod running;
mod vmcs;

use std::fmt;

use crate::native::{HostFacts, host_facts};
use crate::x86_64::Hypervisor;

/// One question, answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The probe's name, as in the table of unknowns.
    pub probe: &'static str,
    /// What was asked.
    pub question: &'static str,
    /// What happened. Several lines where there is a list.
    pub answer: String,
}

/// All findings of one provider on one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The provider's name.
    pub provider: &'static str,
    /// The host.
    pub host: HostFacts,
    /// In the order asked.
    pub findings: Vec<Finding>,
}

/// A probe's failure is an answer, too.
type Answer = Result<String, crate::Error>;

/// A name, a question and what answers it.
type Probe = (&'static str, &'static str, fn(&dyn Hypervisor) -> Answer);

const PROBES: &[Probe] = &[
    ("capabilities", "What do the VMX capabilities say?", capabilities::all),
    ("msr-info", "What is told about managed MSRs?", capabilities::msr_info),
    ("limits", "How many vCPUs and address spaces; how fast is the TSC?", capabilities::limits),
    ("second-vm", "Is a second VM in a process refused?", capabilities::second_vm),
    ("vmcs-initial", "What does a new vCPU's VMCS hold?", vmcs::initial),
    (
        "vmcs-write-rights",
        "Which fields take a write of their own value, and what do the others answer?",
        vmcs::write_rights,
    ),
    (
        "vmcs-write-capabilities",
        "What do the write capabilities of control fields say?",
        vmcs::write_capabilities,
    ),
    (
        "cr0-register",
        "What do CR0 and CR4 through hv_vcpu_write_register do to field, mask and shadow?",
        registers::control,
    ),
    ("xcr0-mpx", "Are XCR0's MPX bits dropped silently?", registers::xcr0_mpx),
    ("tpr-readback", "Does the TPR register show what the guest wrote to CR8?", registers::tpr_readback),
    ("fpstate-size", "Which sizes of an XSAVE image are taken?", registers::fpstate_size),
    ("foreign-thread", "What does a vCPU call from a foreign thread return?", foreign_thread::call),
    ("misaligned-map", "What does a misaligned mapping return?", memory::misaligned),
    ("overlapping-map", "Is mapping over a mapped range refused?", memory::overlapping),
    ("unmap-hole", "What does unmapping or protecting an unmapped range return?", memory::hole),
    (
        "ept-instruction-length",
        "Is the instruction length filled in for EPT violations?",
        memory::instruction_length,
    ),
    ("lazy-fill", "How much does one first-touch exit under plain run fill in?", memory::lazy_fill),
    ("cr3-write-flush", "Does writing CR3 in the VMCS forget translations?", memory::cr3_write_flush),
    ("native-msrs", "Which MSRs can be made native?", msr::native),
    ("managed-msrs", "Which MSRs can be managed?", msr::managed),
    ("msr-before-enabling", "Do read_msr and write_msr work only for enabled MSRs?", msr::before_enabling),
    ("invalid-guest-state", "How does a run with invalid guest state end?", running::invalid_guest_state),
    ("invalid-controls", "How does a run with an impossible event to inject end?", running::invalid_controls),
    (
        "kick-before-run",
        "Does a kick of a vCPU outside the guest end its next run?",
        running::kick_before_run,
    ),
    ("kick-information", "What does the exit of a kick hold?", running::kick_information),
    ("spurious-exits", "How often does plain run return for host interrupts?", running::spurious_exits),
    ("deadline", "How late does run_until return, and with which reason?", running::deadline),
    ("exec-time", "What is the unit of hv_vcpu_get_exec_time?", running::exec_time),
];

/// Asks everything. Takes a few seconds.
pub fn run(hypervisor: &dyn Hypervisor) -> Report {
    let ask = |(probe, question, answer): &Probe| {
        let answer = answer(hypervisor).unwrap_or_else(|error| format!("failed: {error}"));
        Finding { probe, question, answer }
    };
    Report { provider: hypervisor.name(), host: host_facts(), findings: PROBES.iter().map(ask).collect() }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unknown = || "unknown".to_owned();
        let host = &self.host;
        writeln!(f, "provider: {}", self.provider)?;
        writeln!(f, "macos: {}", host.macos_version.clone().unwrap_or_else(unknown))?;
        writeln!(f, "model: {}", host.model.clone().unwrap_or_else(unknown))?;
        writeln!(f, "hv_support: {}", host.hv_support.map_or_else(unknown, |b| b.to_string()))?;
        for finding in &self.findings {
            write!(f, "\n[{}] {}\n", finding.probe, finding.question)?;
            for line in finding.answer.lines() {
                writeln!(f, "  {line}")?;
            }
        }
        Ok(())
    }
}

/// A result as it is printed: `HV_SUCCESS` or the code's name.
fn code<T>(result: &crate::Result<T>) -> String {
    match result {
        Ok(_) => crate::ReturnCode::SUCCESS.to_string(),
        Err(error) => error.code.to_string(),
    }
}

#[cfg(test)]
#[path = "probe_test.rs"]
mod probe_test;
