//! Registers of the 16550A: National Semiconductor PC16550D data sheet.

/// Register offsets.
pub mod offset {
    /// Receive buffer (read), transmit holding (write); divisor low with DLAB.
    pub const DATA: u64 = 0;
    /// Interrupt enable; divisor high with DLAB.
    pub const IER: u64 = 1;
    /// Interrupt identification (read), FIFO control (write).
    pub const IIR_FCR: u64 = 2;
    /// Line control.
    pub const LCR: u64 = 3;
    /// Modem control.
    pub const MCR: u64 = 4;
    /// Line status.
    pub const LSR: u64 = 5;
    /// Modem status.
    pub const MSR: u64 = 6;
    /// Scratch.
    pub const SCRATCH: u64 = 7;
}

/// Interrupt enable register.
pub mod ier {
    /// Received data.
    pub const RECEIVED: u8 = 1 << 0;
    /// Transmit holding register empty.
    pub const TRANSMIT_EMPTY: u8 = 1 << 1;
    /// Line status.
    pub const LINE_STATUS: u8 = 1 << 2;
    /// Modem status.
    pub const MODEM_STATUS: u8 = 1 << 3;
    /// The bits that exist.
    pub const WRITABLE: u8 = 0x0f;
}

/// Interrupt identification register, by falling priority.
pub mod iir {
    /// A receive error or break.
    pub const LINE_STATUS: u8 = 0x06;
    /// The receive FIFO is filled to its trigger.
    pub const RECEIVED: u8 = 0x04;
    /// Bytes wait in the receive FIFO, and none came or went for four characters' time.
    pub const TIMEOUT: u8 = 0x0c;
    /// Transmit holding register empty.
    pub const TRANSMIT_EMPTY: u8 = 0x02;
    /// A modem line changed.
    pub const MODEM_STATUS: u8 = 0x00;
    /// Nothing is pending.
    pub const NONE: u8 = 0x01;
    /// The FIFOs are on.
    pub const FIFOS: u8 = 0xc0;
}

/// FIFO control register.
pub mod fcr {
    /// FIFOs on.
    pub const ENABLE: u8 = 1 << 0;
    /// Empty the receive FIFO.
    pub const CLEAR_RECEIVE: u8 = 1 << 1;
    /// Where the trigger level is; two bits.
    pub const TRIGGER_SHIFT: u8 = 6;
}

/// Line control register.
pub mod lcr {
    /// Word length less five.
    pub const WORD_LENGTH: u8 = 3;
    /// Two stop bits.
    pub const STOP: u8 = 1 << 2;
    /// Parity bit.
    pub const PARITY: u8 = 1 << 3;
    /// Divisor latch access (DLAB).
    pub const DIVISOR: u8 = 1 << 7;
}

/// Modem control register.
pub mod mcr {
    /// Data terminal ready.
    pub const DTR: u8 = 1 << 0;
    /// Request to send.
    pub const RTS: u8 = 1 << 1;
    /// Output 1.
    pub const OUT_1: u8 = 1 << 2;
    /// Output 2: on a PC it connects the interrupt line.
    pub const OUT_2: u8 = 1 << 3;
    /// Loopback.
    pub const LOOPBACK: u8 = 1 << 4;
    /// The bits that exist.
    pub const WRITABLE: u8 = 0x1f;
}

/// Line status register.
pub mod lsr {
    /// A byte can be read.
    pub const DATA_READY: u8 = 1 << 0;
    /// A byte was lost.
    pub const OVERRUN: u8 = 1 << 1;
    /// A break was received.
    pub const BREAK: u8 = 1 << 4;
    /// A byte can be sent.
    pub const TRANSMIT_EMPTY: u8 = 1 << 5;
    /// Everything was sent.
    pub const TRANSMITTER_IDLE: u8 = 1 << 6;
    /// The receive FIFO holds an error.
    pub const FIFO_ERROR: u8 = 1 << 7;
}

/// Modem status register.
pub mod msr {
    /// Clear to send changed.
    pub const DELTA_CTS: u8 = 1 << 0;
    /// Data set ready changed.
    pub const DELTA_DSR: u8 = 1 << 1;
    /// Ring ended.
    pub const RING_ENDED: u8 = 1 << 2;
    /// Carrier detect changed.
    pub const DELTA_DCD: u8 = 1 << 3;
    /// Clear to send.
    pub const CTS: u8 = 1 << 4;
    /// Data set ready.
    pub const DSR: u8 = 1 << 5;
    /// Ring.
    pub const RI: u8 = 1 << 6;
    /// Carrier detect.
    pub const DCD: u8 = 1 << 7;
    /// The lines, without the changes.
    pub const LINES: u8 = 0xf0;
}

/// Bytes each FIFO holds.
pub const FIFO_BYTES: usize = 16;

/// The divisor's input clock in Hz; it is divided by 16 times the divisor.
pub const CLOCK_HZ: u64 = 1_843_200;
