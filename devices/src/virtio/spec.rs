//! Numbers of the virtio specification, version 1.2.

/// Device status bits (section 2.1).
pub mod status {
    /// The guest has found the device.
    pub const ACKNOWLEDGE: u8 = 1;
    /// The guest has a driver for it.
    pub const DRIVER: u8 = 2;
    /// The driver is ready.
    pub const DRIVER_OK: u8 = 4;
    /// The driver's choice of features is agreed.
    pub const FEATURES_OK: u8 = 8;
    /// The device cannot go on without a reset.
    pub const NEEDS_RESET: u8 = 0x40;
    /// The driver has given up.
    pub const FAILED: u8 = 0x80;
}

/// Features that belong to rings and transports (section 6).
pub mod feature {
    /// Descriptors may point to tables of descriptors.
    pub const INDIRECT_DESC: u64 = 1 << 28;
    /// Notifications are suppressed by index.
    pub const EVENT_IDX: u64 = 1 << 29;
    /// Compliance with version 1 of the specification.
    pub const VERSION_1: u64 = 1 << 32;
    /// Packed rings.
    pub const RING_PACKED: u64 = 1 << 34;
    /// A queue can be reset by itself.
    pub const RING_RESET: u64 = 1 << 40;
}

/// Interrupt status bits (sections 4.1.4.5 and 4.2.2).
pub mod isr {
    /// A queue has used buffers.
    pub const QUEUE: u8 = 1;
    /// The configuration or the status has changed.
    pub const CONFIG: u8 = 2;
}

/// "No vector" in the PCI transport's vector registers (section 4.1.4.3).
pub const NO_VECTOR: u16 = 0xffff;

/// PCI vendor of virtio devices (section 4.1.2).
pub const PCI_VENDOR: u16 = 0x1af4;

/// PCI device IDs are this plus the device's number (section 4.1.2).
pub const PCI_DEVICE_BASE: u16 = 0x1040;

/// The MMIO transport's magic, "virt" (section 4.2.2).
pub const MMIO_MAGIC: u32 = 0x7472_6976;

/// Largest queue of a split ring (section 2.7).
pub const MAX_QUEUE_SIZE: u16 = 32768;
