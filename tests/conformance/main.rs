//! One suite for every provider of the framework's API: what a guest or a client does, and what must come of it.
//!
//! Each test runs on every provider present: the software engine with its default switches and with the opposite
//! ones, and on a Mac the real framework. Where public knowledge leaves the answer open, the test accepts what
//! `UNKNOWNS.md` lists and nothing else.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::print_stderr)] // all of it is test code

mod guest;
mod layout;
mod provider;

mod api_memory;
mod api_msr;
mod api_registers;
mod api_run;
mod api_time;
mod api_vm;
mod api_vmcs;
mod entry_checks;
mod entry_controls;
mod event_injection;
mod event_vectoring;
mod event_windows;
mod exit_control;
mod exit_exceptions;
mod exit_instructions;
mod exit_io;
mod exit_memory;
mod foreign_thread;
