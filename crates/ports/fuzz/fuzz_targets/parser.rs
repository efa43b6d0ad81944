//! Arbitrary text: no parser panics, errors point into the text, and what is printed reads back.
#![no_main]

#[path = "../../tests/text/mod.rs"]
mod text;

libfuzzer_sys::fuzz_target!(|typed: &str| text::check(typed));
