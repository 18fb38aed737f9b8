//! PCI configuration space: PCI Local Bus Specification 3.0, chapter 6.

/// Bytes of configuration space a conventional function has.
pub const CONFIG_BYTES: u16 = 256;

/// Device numbers on a bus.
pub const DEVICES: u8 = 32;

/// Base address registers of a type 0 function.
pub const BARS: usize = 6;

/// Offsets in the type 0 header.
pub mod offset {
    /// Vendor ID, two bytes; device ID follows.
    pub const VENDOR: u16 = 0x00;
    /// Device ID, two bytes.
    pub const DEVICE: u16 = 0x02;
    /// Command, two bytes.
    pub const COMMAND: u16 = 0x04;
    /// Status, two bytes.
    pub const STATUS: u16 = 0x06;
    /// Revision; three bytes of class code follow.
    pub const REVISION: u16 = 0x08;
    /// Cache line size.
    pub const CACHE_LINE: u16 = 0x0c;
    /// Latency timer.
    pub const LATENCY: u16 = 0x0d;
    /// Header type.
    pub const HEADER_TYPE: u16 = 0x0e;
    /// First base address register.
    pub const BAR_0: u16 = 0x10;
    /// Subsystem vendor ID, two bytes; subsystem ID follows.
    pub const SUBSYSTEM_VENDOR: u16 = 0x2c;
    /// Subsystem ID, two bytes.
    pub const SUBSYSTEM: u16 = 0x2e;
    /// First capability.
    pub const CAPABILITIES: u16 = 0x34;
    /// Interrupt line: the guest's notebook.
    pub const INTERRUPT_LINE: u16 = 0x3c;
    /// Interrupt pin: 0 none, 1 to 4 INTA# to INTD#.
    pub const INTERRUPT_PIN: u16 = 0x3d;
    /// First byte that is the function's own.
    pub const DEVICE_SPECIFIC: u16 = 0x40;
}

/// Command register.
pub mod command {
    /// Answer on ports.
    pub const IO: u16 = 1 << 0;
    /// Answer in memory.
    pub const MEMORY: u16 = 1 << 1;
    /// May access memory itself.
    pub const BUS_MASTER: u16 = 1 << 2;
    /// INTx is off.
    pub const INTX_DISABLE: u16 = 1 << 10;
    /// Bits that keep what is written: those above, parity error response, and SERR#.
    pub const WRITABLE: u16 = IO | MEMORY | BUS_MASTER | INTX_DISABLE | 1 << 6 | 1 << 8;
}

/// Status register.
pub mod status {
    /// The function's INTx is raised, whether or not it is let through.
    pub const INTERRUPT: u16 = 1 << 3;
    /// There is a list of capabilities.
    pub const CAPABILITIES: u16 = 1 << 4;
}

/// Base address registers.
pub mod bar {
    /// Ports rather than memory.
    pub const IO: u32 = 1 << 0;
    /// 64-bit memory; the next register is the high half.
    pub const MEMORY_64: u32 = 2 << 1;
    /// Prefetchable memory.
    pub const PREFETCHABLE: u32 = 1 << 3;
    /// Smallest window of ports.
    pub const MIN_IO_BYTES: u64 = 4;
    /// Largest window of ports.
    pub const MAX_IO_BYTES: u64 = 256;
    /// Smallest window of memory.
    pub const MIN_MEMORY_BYTES: u64 = 16;
    /// Largest window of 32-bit memory.
    pub const MAX_MEMORY_32_BYTES: u64 = 1 << 31;
}

/// Capability IDs.
pub mod capability {
    /// MSI-X.
    pub const MSIX: u8 = 0x11;
    /// Vendor-specific.
    pub const VENDOR: u8 = 0x09;
}

/// MSI-X: PCI Local Bus Specification 3.0, section 6.8.2.
pub mod msix {
    /// Most vectors a function can have.
    pub const MAX_VECTORS: u16 = 2048;
    /// Bytes of a table entry: address low and high, data, vector control.
    pub const ENTRY_BYTES: u64 = 16;
    /// Vector control: masked.
    pub const ENTRY_MASKED: u32 = 1 << 0;
    /// Message control: the function's vectors are all masked.
    pub const FUNCTION_MASK: u16 = 1 << 14;
    /// Message control: MSI-X is on.
    pub const ENABLE: u16 = 1 << 15;
    /// Message control's offset from the capability's start.
    pub const MESSAGE_CONTROL: u16 = 2;
}
