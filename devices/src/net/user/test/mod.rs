//! The user back end with a guest at its other end.

mod datagrams;
mod guest;
mod streams;
mod wire;
