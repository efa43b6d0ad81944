//! Port numbers: what a port is, who may bind which, which one a client gets, and what its number is registered for.
#![forbid(unsafe_code)]
