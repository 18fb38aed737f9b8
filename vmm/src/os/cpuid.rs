//! CPUID on x86-64 hosts.

use std::arch::x86_64::__cpuid_count;

use crate::x86_64::cpuid::{CpuidResult, HostCpuid};

/// The instruction itself.
pub(super) struct Instruction;

impl HostCpuid for Instruction {
    fn query(&self, leaf: u32, subleaf: u32) -> CpuidResult {
        let answer = __cpuid_count(leaf, subleaf);
        CpuidResult { eax: answer.eax, ebx: answer.ebx, ecx: answer.ecx, edx: answer.edx }
    }
}
