//! Registers of the 8254.
