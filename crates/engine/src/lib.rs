//! The event loop that wires host, relay and transport together, and the control API.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods)]
