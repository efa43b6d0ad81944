//! A sans-IO transport layer: TCP, UDP and ICMP over IPv4 and IPv6, with a real port table.
//!
//! [`Stack`] is a state machine without sockets, clock or randomness of its own. Frames go in by [`Stack::receive`], frames
//! come out of [`Stack::poll_transmit`], and what happened is told by [`Stack::poll_event`]; the present time is an argument
//! of every call that needs it. The order of calls that an event loop keeps:
//!
//! 1. `receive` each frame that the link has (many in a row are welcome: acknowledgements then coalesce),
//! 2. `poll_event` and `poll_datagram` until `None`, acting on each,
//! 3. `poll_transmit` until `None`, writing each to the link,
//! 4. sleep until the link has a frame or `poll_timeout` is due, then `handle_timeout`, and go on at 2.
//!
//! Every other call with effects (`accept_incoming`, `commit`, `consume`, `shutdown`, …) may be made at any point, and is
//! followed by 3 before the loop sleeps.
#![forbid(unsafe_code)]

mod config;
mod demux;
mod error;
mod event;
mod hash;
mod id;
mod leases;
mod output;
mod reassembly;
mod slots;
mod spare;
mod stack;
pub mod tcp;
mod time;
mod timers;
mod train;
mod types;
mod wire;

pub use bytes::Bytes;
pub use config::{Config, Limits, Link};
pub use error::{AcceptError, BindError, ConnectError, ListenError, ReceiveError, SendDatagramError};
pub use event::{EchoRequest, Event, Incoming, ResetReason};
pub use id::{ConnectionId, IncomingId, ListenerId, SocketId};
pub use stack::{
    BODY_SLICES, BindOptions, Datagram, DatagramOptions, DatagramTrain, RECEIVE_CHUNKS, Stack, Statistics, Transmit,
};
pub use types::{IpCidr, MacAddress, Unreachable};
