//! Development tasks: `cargo xtask test | lint | bench | deps-rule`.
fn main() {}
