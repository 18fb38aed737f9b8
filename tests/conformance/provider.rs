//! The providers present on this host.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hypervisor_framework::soft::{EngineOptions, Level, Quirks, Soft};
use hypervisor_framework::x86_64::Hypervisor;
use hypervisor_framework::{ReturnCode, native};

/// A provider under test.
pub(crate) struct Provider {
    pub(crate) name: &'static str,
    pub(crate) hypervisor: Arc<dyn Hypervisor>,
    /// The switches of the software provider; `None` for the real framework, whose answers are not known.
    pub(crate) quirks: Option<Quirks>,
    /// The real framework has one VM per process: tests take turns.
    turn: Option<MutexGuard<'static, ()>>,
}

impl Provider {
    /// Does the switch have this value? `None` on the real framework.
    pub(crate) fn switch<T>(&self, read: impl FnOnce(&Quirks) -> T) -> Option<T> {
        self.quirks.as_ref().map(read)
    }

    pub(crate) fn is_native(&self) -> bool {
        self.turn.is_some()
    }
}

/// The default switches.
fn strict() -> Quirks {
    Quirks::default()
}

/// Every switch at another answer, so that no test rests on a guess.
fn other_answers() -> Quirks {
    let strict = strict();
    Quirks {
        refused_write: ReturnCode::ERROR,
        wrong_thread: ReturnCode::ERROR,
        invalid_guest_state: ReturnCode::SUCCESS,
        one_vm: !strict.one_vm,
        sticky_kicks: !strict.sticky_kicks,
        ept_instruction_length: !strict.ept_instruction_length,
        lazy_fill: Some(4096),
        host_interrupts: Some(Duration::from_micros(300)),
        mpx_ignored: !strict.mpx_ignored,
        overlap_refused: !strict.overlap_refused,
        hole: ReturnCode::ERROR,
        msr_needs_enabling: !strict.msr_needs_enabling,
        cr3_write_flushes: !strict.cr3_write_flushes,
        stale_tpr: !strict.stale_tpr,
        seed: 7,
    }
}

fn soft(name: &'static str, quirks: Quirks, level: Level) -> Provider {
    let options = EngineOptions { level, ..EngineOptions::default() };
    let hypervisor = Arc::new(Soft::new(quirks.clone()).with_engine(options));
    Provider { name, hypervisor, quirks: Some(quirks), turn: None }
}

/// Runs a test on every provider present, and says which one failed.
pub(crate) fn each(test: impl Fn(&Provider)) {
    static TURN: Mutex<()> = Mutex::new(());
    let mut providers =
        vec![soft("soft", strict(), Level::V2), soft("soft, other answers", other_answers(), Level::V3)];
    if let Ok(hypervisor) = native::x86_64_hypervisor() {
        let turn = Some(TURN.lock().unwrap_or_else(PoisonError::into_inner));
        providers.push(Provider { name: "hvf", hypervisor, quirks: None, turn });
    }
    for provider in &providers {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(provider)));
        if let Err(panic) = result {
            eprintln!("provider: {}", provider.name);
            std::panic::resume_unwind(panic);
        }
    }
}
