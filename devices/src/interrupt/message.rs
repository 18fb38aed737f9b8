//! Interrupt messages, as they travel between I/O APIC, MSI senders and local APICs.
//!
//! Intel SDM volume 3, "Advanced Programmable Interrupt Controller": interrupt command register, message address and
//! data registers.

/// What a message does at its target (ICR, redirection entry and MSI data bits 10:8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum DeliveryMode {
    /// The vector, to every target.
    Fixed = 0,
    /// The vector, to the target that is least busy.
    LowestPriority = 1,
    /// System management interrupt; there is no system management mode here, so it is dropped.
    Smi = 2,
    /// Non-maskable interrupt.
    Nmi = 4,
    /// INIT.
    Init = 5,
    /// Start-up IPI; only from an ICR.
    Startup = 6,
    /// The 8259's interrupt: the target asks it for the vector.
    ExtInt = 7,
}

impl DeliveryMode {
    /// From the three bits that encode it; 0b011 is reserved.
    pub const fn from_bits(bits: u32) -> Option<Self> {
        match bits & 7 {
            0 => Some(Self::Fixed),
            1 => Some(Self::LowestPriority),
            2 => Some(Self::Smi),
            4 => Some(Self::Nmi),
            5 => Some(Self::Init),
            6 => Some(Self::Startup),
            7 => Some(Self::ExtInt),
            _ => None,
        }
    }
}

/// How the source signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// By an edge.
    Edge,
    /// By a level; the target's EOI is told to the I/O APIC.
    Level,
}

/// Which local APICs a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// Every one.
    All,
    /// The one with this APIC ID.
    Physical(u32),
    /// Those whose logical ID matches: eight bits for a target in xAPIC mode, cluster and mask for one in x2APIC mode.
    Logical(u32),
}

impl Destination {
    /// From an eight-bit destination field (redirection entry, MSI address, xAPIC ICR): physical 0xff is broadcast.
    pub const fn from_byte(id: u8, logical: bool) -> Self {
        match (logical, id) {
            (true, _) => Self::Logical(id as u32),
            (false, 0xff) => Self::All,
            (false, _) => Self::Physical(id as u32),
        }
    }
}

/// One interrupt on its way to local APICs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InterruptMessage {
    /// Whom it is for.
    pub destination: Destination,
    /// What it does there.
    pub mode: DeliveryMode,
    /// The vector; for [`DeliveryMode::Startup`] the page the target starts in.
    pub vector: u8,
    /// How the source signals.
    pub trigger: Trigger,
}

/// A message-signalled interrupt: one 32-bit write to the APICs' address range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MsiMessage {
    /// Guest-physical address of the write.
    pub address: u64,
    /// The value written.
    pub data: u32,
}

impl MsiMessage {
    /// First address of the range that is for interrupts, and the byte after its last.
    pub const ADDRESS_RANGE: std::ops::Range<u64> = 0xfee0_0000..0xfef0_0000;

    /// What the write asks for, if it is to the APICs and asks for something.
    pub fn decode(self) -> Option<InterruptMessage> {
        if !Self::ADDRESS_RANGE.contains(&self.address) {
            return None;
        }
        let destination = (self.address >> 12 & 0xff) as u8;
        // Bit 2 alone decides, with or without the redirection hint in bit 3: guests that use logical destinations
        // with fixed delivery leave the hint clear.
        let logical = self.address & 1 << 2 != 0;
        let trigger = if self.data & 1 << 15 != 0 { Trigger::Level } else { Trigger::Edge };
        // A level message with bit 14 clear takes an assertion back, which an APIC ignores.
        if trigger == Trigger::Level && self.data & 1 << 14 == 0 {
            return None;
        }
        let mode = DeliveryMode::from_bits(self.data >> 8).filter(|mode| *mode != DeliveryMode::Startup)?;
        Some(InterruptMessage {
            destination: Destination::from_byte(destination, logical),
            mode,
            vector: (self.data & 0xff) as u8,
            trigger,
        })
    }
}

/// Takes message-signalled interrupts. Implemented by [`super::InterruptFabric`].
pub trait MsiTarget: Send + Sync {
    /// Performs the write; one that makes no sense is dropped, as a write to nowhere would be.
    fn send_msi(&self, message: MsiMessage);
}

#[cfg(test)]
#[path = "message_test.rs"]
mod message_test;
