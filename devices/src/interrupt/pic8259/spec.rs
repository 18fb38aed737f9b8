//! Registers of the 8259.
