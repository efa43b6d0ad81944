//! TCP (RFC 9293 and its companions): one connection is one state machine, driven by segments, calls and timers.

mod config;
mod status;

pub use config::{Config, CongestionControl};
pub use status::{State, Status};
