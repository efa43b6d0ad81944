//! Scripted conformance tests, by theme. docs/conformance.md says which clause is shown by which.
#![allow(unreachable_pub, reason = "modules of one test")]

mod acknowledging;
mod binding;
mod bounds;
mod closing;
mod details;
mod fragments;
mod handshake;
mod line;
mod loss;
mod named;
mod options;
mod packets;
mod paths;
mod resets;
mod script;
mod sending;
mod spurious;
mod timestamps;
