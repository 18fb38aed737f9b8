//! Registers of the 16550A.
