//! Events: exceptions and interrupts on their way to the guest.

mod debug;
mod deliver;

pub(crate) use debug::Step;

use crate::cpu::{Cpu, Trap, TrapCause, Trapped, slot, trap_vector as vector};
use crate::exit::Exit;
use crate::{Event, EventKind, Interruptibility, Reason};

/// How an exception combines with one that arises while it is delivered (SDM vol. 3, table 6-5).
#[derive(PartialEq, Eq)]
enum Class {
    Benign,
    Contributory,
    PageFault,
    DoubleFault,
}

fn class(event: &Event) -> Class {
    if event.kind != EventKind::Exception {
        return Class::Benign;
    }
    match event.vector {
        vector::DE | vector::TS | vector::NP | vector::SS | vector::GP => Class::Contributory,
        vector::PF => Class::PageFault,
        vector::DF => Class::DoubleFault,
        _ => Class::Benign,
    }
}

/// What a fault amounts to.
struct Raised {
    event: Event,
    /// Linear address for #PF, DR6 bits for #DB.
    qualification: u64,
}

impl Raised {
    fn new(vector: u8, error_code: Option<u32>, qualification: u64) -> Self {
        let event = Event { vector, kind: EventKind::Exception, error_code, instruction_length: 0 };
        Self { event, qualification }
    }
}

impl Cpu {
    /// Delivers an event injected from outside. An exception so injected is not intercepted.
    pub(crate) fn deliver_injected(&mut self, event: Event) -> Result<(), Exit> {
        if event.kind == EventKind::Nmi {
            self.interruptibility.insert(Interruptibility::NMI);
        }
        self.interruptibility.remove(Interruptibility::STI | Interruptibility::MOV_SS);
        self.start(event, None)
    }

    /// Turns the last trap into an exit, or delivers it to the guest.
    pub(crate) fn take_trap(&mut self) -> Option<Exit> {
        if let Some(exit) = self.left.take() {
            return Some(exit);
        }
        let trapped = self.trapped;
        self.rip = self.regs[slot::BLOCK_RIP as usize].wrapping_add(u64::from(trapped.start));
        if !self.mode.is64() {
            self.rip &= 0xffff_ffff;
        }
        if let TrapCause::Software { vector, kind } = self.cause {
            self.instructions += 1;
            return self.software_event(vector, kind, trapped.len).err();
        }
        match self.raised(&trapped) {
            Ok(raised) => {
                // A handler that faults at its first instruction makes progress, too: bounds on a run are reached.
                self.instructions += 1;
                let exit = self.raise(raised, None).err();
                // Only an exit for IRET's own fault tells of it.
                self.nmi_unblocked_by_iret = false;
                exit
            }
            Err(Some(reason)) => Some(self.make_exit(reason, trapped.len, None)),
            Err(None) => {
                self.step_next = true;
                None
            }
        }
    }

    /// The exception a trap stands for; or the reason to exit, or nothing (try again).
    fn raised(&mut self, trapped: &Trapped) -> Result<Raised, Option<Reason>> {
        let cause = std::mem::replace(&mut self.cause, TrapCause::BadAddress);
        Ok(match cause {
            TrapCause::Fault { vector, error_code } => Raised::new(vector, error_code, 0),
            TrapCause::PageFault { address, error_code } => {
                Raised::new(vector::PF, Some(error_code), address)
            }
            TrapCause::BadAddress => {
                let vector = if trapped.stack_segment { vector::SS } else { vector::GP };
                Raised::new(vector, Some(0), 0)
            }
            TrapCause::Exit(reason) => return Err(Some(reason)),
            TrapCause::Retry | TrapCause::Software { .. } => return Err(None),
        })
    }

    fn make_exit(&self, reason: Reason, instruction_length: u8, vectoring: Option<Event>) -> Exit {
        Exit { reason, instruction_length, vectoring, nmi_unblocked_by_iret: self.nmi_unblocked_by_iret }
    }

    /// Does the exception bitmap select it?
    fn intercepted(&self, event: &Event) -> bool {
        let bit = self.intercepts.exceptions >> (event.vector & 31) & 1 != 0;
        if event.vector == vector::PF {
            let matches = event.error_code.unwrap_or(0) & self.intercepts.pf_mask == self.intercepts.pf_match;
            return bit == matches;
        }
        bit
    }

    /// Raises an exception, perhaps in the course of delivering `during`.
    fn raise(&mut self, raised: Raised, during: Option<Event>) -> Result<(), Exit> {
        if self.intercepted(&raised.event) {
            let reason = Reason::Exception { event: raised.event, qualification: raised.qualification };
            return Err(self.make_exit(reason, 0, during));
        }
        if let Some(first) = during {
            match (class(&first), class(&raised.event)) {
                (Class::DoubleFault, Class::Contributory | Class::PageFault) => {
                    return Err(self.make_exit(Reason::TripleFault, 0, None));
                }
                (Class::Contributory, Class::Contributory)
                | (Class::PageFault, Class::Contributory | Class::PageFault) => {
                    let double = Raised::new(vector::DF, Some(0), 0);
                    if self.intercepted(&double.event) {
                        let reason = Reason::Exception { event: double.event, qualification: 0 };
                        return Err(self.make_exit(reason, 0, during));
                    }
                    return self.start(double.event, None);
                }
                _ => {}
            }
        }
        let address = (raised.event.vector == vector::PF).then_some(raised.qualification);
        if raised.event.vector == vector::DB {
            self.dr[6] |= raised.qualification;
            self.dr[7] &= !(1 << 13);
        }
        self.start(raised.event, address)
    }

    /// Delivers an event through the IDT, and whatever comes of it.
    fn start(&mut self, event: Event, cr2: Option<u64>) -> Result<(), Exit> {
        if let Some(address) = cr2 {
            self.cr2 = address;
        }
        match self.deliver(&event) {
            Ok(()) => {
                self.update_mode();
                Ok(())
            }
            Err(Trap) => {
                self.update_mode();
                match self.raised(&Trapped::default()) {
                    Ok(mut raised) => {
                        // The error code's EXT bit: the event did not come from the program.
                        let external =
                            matches!(event.kind, EventKind::External | EventKind::Nmi | EventKind::Exception);
                        if raised.event.vector != vector::PF && external {
                            raised.event.error_code = raised.event.error_code.map(|code| code | 1);
                        }
                        self.raise(raised, Some(event))
                    }
                    Err(Some(reason)) => Err(self.make_exit(reason, event.instruction_length, Some(event))),
                    Err(None) => {
                        // A push onto a page of code: nothing was stored yet, so deliver again, now allowed.
                        self.mode.0 |= crate::cpu::control::Mode::SINGLE;
                        self.start_again(event)
                    }
                }
            }
        }
    }

    fn start_again(&mut self, event: Event) -> Result<(), Exit> {
        match self.deliver(&event) {
            Ok(()) => {
                self.update_mode();
                Ok(())
            }
            Err(Trap) => Err(self.make_exit(Reason::TripleFault, 0, None)),
        }
    }

    /// Delivers a software interrupt or exception (INT n, INT3, INTO, INT1) of the running program. RIP is that of the
    /// instruction.
    pub(crate) fn software_event(
        &mut self,
        vector: u8,
        kind: EventKind,
        instruction_length: u8,
    ) -> Result<(), Exit> {
        let event = Event { vector, kind, error_code: None, instruction_length };
        if kind != EventKind::SoftwareInterrupt && self.intercepted(&event) {
            let reason = Reason::Exception { event, qualification: 0 };
            return Err(self.make_exit(reason, instruction_length, None));
        }
        self.start(event, None)
    }

    /// Raises #DB for what is pending.
    pub(crate) fn raise_pending_debug(&mut self) -> Result<(), Exit> {
        let bits = std::mem::take(&mut self.pending_debug) & 0x600f;
        self.raise_debug(bits)
    }

    /// Raises #DB with these bits for DR6.
    fn raise_debug(&mut self, bits: u64) -> Result<(), Exit> {
        self.raise(Raised::new(vector::DB, None, bits), None)
    }
}
