//! Registers of the I/O APIC.
