//! What is not known of the real framework, as switches.
//!
#![doc = include_str!("../../UNKNOWNS.md")]

use std::time::Duration;

use crate::ReturnCode;

/// Behaviours of the real framework that public sources leave open. The default is the strictest or likeliest answer.
/// The table in the module's documentation has a row per field.
#[derive(Debug, Clone, PartialEq)]
pub struct Quirks {
    /// Answer to a write of a VMCS field without the right to.
    pub refused_write: ReturnCode,
    /// Answer to a vCPU call from another thread than its owner.
    pub wrong_thread: ReturnCode,
    /// Answer to a run whose guest state fails the entry checks; with [`ReturnCode::SUCCESS`] the run succeeds and
    /// only the exit reason (bit 31) tells.
    pub invalid_guest_state: ReturnCode,
    /// A second VM of one provider is refused with [`ReturnCode::BUSY`].
    pub one_vm: bool,
    /// A kick of a vCPU outside the guest ends its next run.
    pub sticky_kicks: bool,
    /// EPT violations report the instruction's length; otherwise 0.
    pub ept_instruction_length: bool,
    /// Under plain `run`, the first touch of each block of this many bytes of mapped memory exits.
    pub lazy_fill: Option<u64>,
    /// Under plain `run`, the host's interrupts exit with reason 1, at random intervals of at most this.
    pub host_interrupts: Option<Duration>,
    /// The MPX bits of XCR0 are dropped without an error.
    pub mpx_ignored: bool,
    /// Mapping over a mapped range is refused; otherwise it replaces.
    pub overlap_refused: bool,
    /// Answer to unmapping or protecting a range that is not all mapped.
    pub hole: ReturnCode,
    /// `hv_vcpu_read_msr` and `hv_vcpu_write_msr` work only for MSRs that were enabled.
    pub msr_needs_enabling: bool,
    /// Writing CR3 in the VMCS forgets translations without `hv_vcpu_invalidate_tlb`.
    pub cr3_write_flushes: bool,
    /// Reading the TPR register answers what the client wrote last, not what the guest did to CR8.
    pub stale_tpr: bool,
    /// Seed of the random intervals, so that a run can be repeated.
    pub seed: u64,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            refused_write: ReturnCode::BAD_ARGUMENT,
            wrong_thread: ReturnCode::BAD_ARGUMENT,
            invalid_guest_state: ReturnCode::ERROR,
            one_vm: false,
            sticky_kicks: false,
            ept_instruction_length: true,
            lazy_fill: Some(2 << 20),
            host_interrupts: Some(Duration::from_millis(4)),
            mpx_ignored: true,
            overlap_refused: true,
            hole: ReturnCode::BAD_ARGUMENT,
            msr_needs_enabling: true,
            cr3_write_flushes: false,
            stale_tpr: false,
            seed: 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Quirks;

    #[test]
    fn every_switch_has_a_row_with_a_probe() {
        let debug = format!("{:?}", Quirks::default());
        let fields =
            debug.trim_start_matches("Quirks { ").split(", ").map(|f| f.split(':').next().unwrap_or(""));
        for field in fields.filter(|f| *f != "seed") {
            let row = include_str!("../../UNKNOWNS.md").lines().find(|l| l.contains(&format!("`{field}`")));
            let row = row.unwrap_or_else(|| panic!("no row for {field}"));
            assert_eq!(row.matches('|').count(), 6, "{row}");
        }
    }
}
