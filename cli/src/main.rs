//! The `rvmm` command line.

fn main() {}
