//! Registers of the real-time clock.
