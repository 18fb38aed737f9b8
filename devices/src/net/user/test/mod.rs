//! The user back end with a guest at its other end.

mod datagrams;
mod guest;
mod rules;
mod streams;
mod wire;
