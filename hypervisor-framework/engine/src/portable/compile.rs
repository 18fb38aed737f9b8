//! Cranelift, and the thread it works on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use cranelift_codegen::ir::{Signature, UserFuncName, Value};
use cranelift_codegen::isa::{CallConv, OwnedTargetIsa, lookup_by_name};
use cranelift_codegen::settings::{Configurable, Flags, builder};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};

use super::lower;
use super::source::Source;
use crate::block::BlockId;
use crate::memory::{Mailbox, pending};

/// Regions waiting at most; beyond, a hot block asks again later.
const QUEUE: usize = 128;

/// Makes host code of functions.
pub(super) struct Compiler {
    isa: OwnedTargetIsa,
    context: cranelift_codegen::Context,
    builder: FunctionBuilderContext,
}

impl Compiler {
    /// For the host; `None` if Cranelift does not know it.
    pub(super) fn new() -> Option<Self> {
        use std::env::consts::{ARCH, OS};
        let system = if OS == "macos" { "apple-darwin" } else { "unknown-linux-gnu" };
        Self::with_target(&format!("{ARCH}-{system}"))
    }

    /// For a target triple.
    pub(super) fn with_target(triple: &str) -> Option<Self> {
        let mut settings = builder();
        let verify = if cfg!(debug_assertions) { "true" } else { "false" };
        for (name, value) in [
            ("opt_level", "speed"),
            ("enable_verifier", verify),
            // Other CPUs write to guest memory: a load is not to be answered by an earlier one.
            ("enable_alias_analysis", "false"),
            ("enable_probestack", "false"),
            ("unwind_info", "false"),
            // Tail calls need them.
            ("preserve_frame_pointers", "true"),
        ] {
            settings.set(name, value).ok()?;
        }
        let isa = lookup_by_name(triple).ok()?.finish(Flags::new(settings)).ok()?;
        Some(Self { isa, context: cranelift_codegen::Context::new(), builder: FunctionBuilderContext::new() })
    }

    /// How the host calls functions.
    pub(super) fn host_convention(&self) -> CallConv {
        CallConv::triple_default(self.isa.triple())
    }

    /// Does the host order loads and stores less than x86 does?
    pub(super) fn weakly_ordered(&self) -> bool {
        self.isa.name() != "x64"
    }

    /// Compiles what `body` puts into a function; `None` if that cannot be.
    pub(super) fn function(
        &mut self,
        signature: Signature,
        body: impl FnOnce(&mut FunctionBuilder<'_>, &[Value]),
    ) -> Option<Vec<u8>> {
        // A fault of the compiler is not to end the guest: its code stays interpreted.
        let made = catch_unwind(AssertUnwindSafe(|| self.function_or_panic(signature, body)));
        made.unwrap_or_else(|_| {
            (self.context, self.builder) = (cranelift_codegen::Context::new(), FunctionBuilderContext::new());
            None
        })
    }

    fn function_or_panic(
        &mut self,
        signature: Signature,
        body: impl FnOnce(&mut FunctionBuilder<'_>, &[Value]),
    ) -> Option<Vec<u8>> {
        self.context.clear();
        self.context.func.signature = signature;
        self.context.func.name = UserFuncName::default();
        let mut b = FunctionBuilder::new(&mut self.context.func, &mut self.builder);
        let entry = b.create_block();
        b.append_block_params_for_function_params(entry);
        b.switch_to_block(entry);
        let parameters = b.block_params(entry).to_vec();
        body(&mut b, &parameters);
        b.seal_all_blocks();
        b.finalize();
        let code = self
            .context
            .compile(&*self.isa, &mut cranelift_codegen::control::ControlPlane::default())
            .ok()?;
        // What runs wherever it is put refers to nothing outside of itself.
        code.buffer.relocs().is_empty().then(|| code.code_buffer().to_vec())
    }
}

/// A region to compile.
pub(super) struct Job {
    pub(super) id: BlockId,
    pub(super) epoch: u64,
    pub(super) source: Source,
}

/// What came of a [`Job`].
pub(super) struct Done {
    pub(super) id: BlockId,
    pub(super) epoch: u64,
    pub(super) code: Option<Vec<u8>>,
}

/// The thread that compiles for one CPU.
pub(super) struct Worker {
    jobs: Option<SyncSender<Job>>,
    done: Receiver<Done>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts it; `mailbox` is told when something is done.
    pub(super) fn start(mailbox: Arc<Mailbox>) -> Option<Self> {
        let (jobs, queue) = sync_channel::<Job>(QUEUE);
        let (results, done) = sync_channel(QUEUE);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let work = move || {
            let Some(mut compiler) = Compiler::new() else { return };
            while let Ok(job) = queue.recv() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let code = lower::compile(&mut compiler, &job.source);
                if results.send(Done { id: job.id, epoch: job.epoch, code }).is_err() {
                    return;
                }
                mailbox.raise(pending::CODE);
            }
        };
        let thread = std::thread::Builder::new().name("rvmm-compile".into()).spawn(work).ok()?;
        Some(Self { jobs: Some(jobs), done, stop, thread: Some(thread) })
    }

    /// Hands over a job; `false` if there are too many.
    pub(super) fn submit(&self, job: Job) -> bool {
        let Some(jobs) = &self.jobs else { return false };
        match jobs.try_send(job) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }

    /// A result, if there is one.
    pub(super) fn take(&self) -> Option<Done> {
        self.done.try_recv().ok()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.jobs = None;
        // Makes room for a result that waits.
        while self.done.try_recv().is_ok() {}
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
