//! Virtual clock and simulated links for tests.
#![forbid(unsafe_code)]
