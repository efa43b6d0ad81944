//! Sequences of operations on the port table: every verdict and the contents equal the naive model's.
#![no_main]

#[path = "../../tests/operations/mod.rs"]
mod operations;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    operations::check_against_naive(&operations::Op::decode_all(bytes));
});
