use super::PROBES;
use crate::soft::Soft;

#[test]
fn every_probe_of_the_table_exists() {
    let table = include_str!("../../UNKNOWNS.md");
    let named: Vec<_> =
        table.lines().skip(2).filter_map(|row| row.trim_end_matches([' ', '|']).rsplit('`').nth(1)).collect();
    assert!(named.len() > 10);
    for name in named {
        assert!(PROBES.iter().any(|(probe, ..)| *probe == name), "{name}");
    }
}

#[test]
fn the_software_engine_answers_as_its_switches_stand() {
    let report = super::run(&Soft::default());
    let answer = |probe: &str| {
        let finding = report.findings.iter().find(|finding| finding.probe == probe);
        finding.unwrap_or_else(|| panic!("{probe}")).answer.clone()
    };
    for finding in &report.findings {
        assert!(!finding.answer.starts_with("failed"), "{}: {}", finding.probe, finding.answer);
    }
    assert_eq!(answer("second-vm"), "HV_SUCCESS");
    assert!(answer("cr3-write-flush").starts_with("no:"), "{}", answer("cr3-write-flush"));
    assert!(answer("lazy-fill").starts_with("2 first-touch exits"), "{}", answer("lazy-fill"));
    assert!(answer("ept-instruction-length").contains("length 3,"), "{}", answer("ept-instruction-length"));
    assert!(
        answer("tpr-readback").ends_with("CR8 0x5 and wrote 7: reads 0x70"),
        "{}",
        answer("tpr-readback")
    );
    assert!(answer("kick-before-run").contains("PREEMPTION_TIMER"), "{}", answer("kick-before-run"));
    assert!(answer("kick-information").starts_with("EXTERNAL_INTERRUPT"), "{}", answer("kick-information"));
    assert!(!answer("vmcs-write-rights").contains("not as expected"), "{}", answer("vmcs-write-rights"));
}
