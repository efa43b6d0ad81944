//! The `minato` command.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods)]
fn main() {}
