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
//!
//! Two stacks whose link is a loop:
//!
//! ```
//! use std::net::SocketAddr;
//! use std::time::Instant;
//!
//! use minato_transport::{Config, Event, IpCidr, Link, Stack};
//!
//! /// Hands every frame over until neither side has one.
//! fn exchange(now: Instant, one: &mut Stack, other: &mut Stack) {
//!     let mut moved = true;
//!     while std::mem::take(&mut moved) {
//!         while let Some(frame) = one.poll_transmit(now) {
//!             other.receive(now, &mut frame.to_vec());
//!             moved = true;
//!         }
//!         while let Some(frame) = other.poll_transmit(now) {
//!             one.receive(now, &mut frame.to_vec());
//!             moved = true;
//!         }
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let now = Instant::now();
//! let [mut client, mut server] = [1, 2].map(|number| {
//!     // The key makes sequence numbers and ports unpredictable: 16 random bytes, but not here.
//!     let mut config = Config::new(Link::Ip { mtu: 1500, virtio: false }, [number; 16]);
//!     config.addresses = vec![IpCidr::new([10, 0, 0, number].into(), 24).expect("a prefix length of IPv4")];
//!     Stack::new(now, config)
//! });
//! let address = SocketAddr::from(([10, 0, 0, 2], 80));
//! let listener = server.listen(address, 16)?;
//! // Without an address of its own it gets one, and an ephemeral port, for which the last argument is random.
//! let connection = client.connect(now, None, address, 7)?;
//! exchange(now, &mut client, &mut server);
//! assert_eq!(client.poll_event(), Some(Event::Connected(connection)));
//!
//! let accepted = server.accept(listener).expect("connected");
//! assert_eq!(client.send(now, connection, b"hello"), 5);
//! exchange(now, &mut client, &mut server);
//! let mut buffer = [0; 16];
//! assert_eq!(server.receive_into(now, accepted, &mut buffer), Ok(5));
//! assert_eq!(&buffer[..5], b"hello");
//! # Ok(())
//! # }
//! ```
//!
//! docs/embedding.md in the repository says which call stands for which socket call.
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
