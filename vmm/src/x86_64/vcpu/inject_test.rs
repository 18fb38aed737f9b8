use super::*;

fn exception(vector: u8) -> InterruptionInfo {
    InterruptionInfo::new(InterruptionKind::HardwareException, vector, false)
}

/// SDM vol. 3, table 7-5.
#[test]
fn escalation_follows_the_table() {
    let benign = [1, 3, 4, 5, 6, 7, 9, 16, 17, 18, 19];
    let contributory = [0, 10, 11, 12, 13];
    for first in benign {
        for second in benign.into_iter().chain(contributory).chain([14]) {
            assert_eq!(escalate(exception(first), second), Escalation::Second, "{first} {second}");
        }
    }
    for first in contributory {
        for second in benign.into_iter().chain([14]) {
            assert_eq!(escalate(exception(first), second), Escalation::Second, "{first} {second}");
        }
        for second in contributory {
            assert_eq!(escalate(exception(first), second), Escalation::DoubleFault, "{first} {second}");
        }
    }
    for second in benign {
        assert_eq!(escalate(exception(14), second), Escalation::Second);
    }
    for second in contributory.into_iter().chain([14]) {
        assert_eq!(escalate(exception(14), second), Escalation::DoubleFault);
        assert_eq!(escalate(exception(8), second), Escalation::TripleFault);
    }
}

#[test]
fn interrupts_do_not_escalate() {
    for kind in [InterruptionKind::External, InterruptionKind::Nmi, InterruptionKind::SoftwareInterrupt] {
        for second in 0..32 {
            assert_eq!(escalate(InterruptionInfo::new(kind, 13, false), second), Escalation::Second);
        }
    }
}
