//! TCP (RFC 9293 and its companions): one connection is one state machine, driven by segments, calls and timers.
//!
//! `state` decides what a segment means in each state; `receive` and `send` are the two directions of the byte stream;
//! `congestion` says how much may be under way. Nothing here knows links or addresses: a connection takes segments and
//! makes headers.

mod buffer;
mod calls;
mod config;
mod congestion;
mod connection;
mod cookie;
mod initial;
mod options;
mod receive;
mod send;
mod sequence;
mod state;
mod status;
mod time_wait;
mod transmit;

pub(crate) use buffer::{ChunkPool, ChunkQueue};
pub use config::Config;
pub(crate) use connection::{Beginning, Connection, Context, Notices};
pub(crate) use cookie::{Cookies, cookie_timestamp};
pub(crate) use initial::{InitialSequence, Request};
pub(crate) use options::SEGMENT_SIZE_MIN;
pub use options::{CongestionControl, KeepAlive, PathMtu, SocketOptions};
pub(crate) use sequence::Seq;
pub(crate) use state::{Disposition, Ended};
pub use status::{State, Status};
pub(crate) use time_wait::{TimeWait, TimeWaitAnswer};
pub(crate) use transmit::{LinkLimits, Outgoing};
