//! The facade: one value that is a whole transport layer.

use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::config::Config;
use crate::error::{AcceptError, ConnectError, ListenError, ReceiveError, SendDatagramError};
use crate::event::Event;
use crate::id::{ConnectionId, IncomingId, ListenerId};
use crate::tcp::Status;
use crate::types::Unreachable;

/// Most parts that a frame's payload comes in.
pub const BODY_SLICES: usize = 4;

/// Most parts that [`Stack::receive_chunks`] returns at once (64 KiB each at best).
pub const RECEIVE_CHUNKS: usize = 4;

/// A frame to write to the link: the concatenation of `head` and the parts of `body`, best by one `writev`.
#[derive(Clone, Copy, Debug)]
pub struct Transmit<'a> {
    /// Headers, with the virtio-net header in front if the link has one; for small packets the whole frame.
    pub head: &'a [u8],
    /// Payload, straight from the send buffer. Unused parts are empty and come last.
    pub body: [&'a [u8]; BODY_SLICES],
}

impl<'a> Transmit<'a> {
    /// Head and body as arguments for `writev`; unused ones are empty.
    #[must_use]
    pub fn io_slices(&self) -> [IoSlice<'a>; BODY_SLICES + 1] {
        let mut slices = [IoSlice::new(self.head); BODY_SLICES + 1];
        for (slice, part) in slices[1..].iter_mut().zip(self.body) {
            *slice = IoSlice::new(part);
        }
        slices
    }

    /// Length of the frame in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.head.len() + self.body.iter().map(|part| part.len()).sum::<usize>()
    }

    /// The frame as one new buffer, for links without `writev` and for tests.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut frame = Vec::with_capacity(self.length());
        frame.extend_from_slice(self.head);
        for part in self.body {
            frame.extend_from_slice(part);
        }
        frame
    }
}

/// A datagram that arrived for a destination that no bound socket of the stack takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Who sent it.
    pub source: SocketAddr,
    /// Whom it shall reach.
    pub destination: SocketAddr,
    /// What it carries (may be empty).
    pub payload: &'a [u8],
}

/// Counters of the whole stack, since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Frames given to `receive`.
    pub frames_received: u64,
    /// Frames taken from `poll_transmit`.
    pub frames_sent: u64,
    /// Frames dropped because they are malformed, fail their checksum, or are not for us.
    pub frames_dropped: u64,
    /// Whatever a bound of `Limits` made us drop.
    pub limited: u64,
    /// Connections in any state but TIME-WAIT.
    pub connections: usize,
    /// Connections in TIME-WAIT.
    pub time_wait: usize,
    /// Requests that are held unanswered.
    pub incoming: usize,
}

/// A whole transport layer without I/O; see the crate's documentation for the order of calls.
#[derive(Debug)]
pub struct Stack {
    config: Config,
}

/// Packets, time and events.
impl Stack {
    /// A stack with no connections. `now` is the zero of its clocks.
    #[must_use]
    pub fn new(_now: Instant, config: Config) -> Stack {
        Stack { config }
    }

    /// Takes one frame from the link, with its virtio-net header if the link has one. Never panics, whatever the bytes.
    ///
    /// May be called many times in a row; then `poll_event` and `poll_datagram` until `None`, then `poll_transmit` until `None`.
    pub fn receive(&mut self, _now: Instant, _frame: &mut [u8]) {}

    /// The next frame to write to the link; `None` when there is nothing to send before the next other call.
    pub fn poll_transmit(&mut self, _now: Instant) -> Option<Transmit<'_>> {
        None
    }

    /// When `handle_timeout` must be called at the latest. May be earlier than anything is due, never later. Changes with every call.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Does what time demands (retransmissions, delayed acknowledgements, expiry). Harmless if called early.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// The next thing that happened; `None` until another call makes something happen.
    pub fn poll_event(&mut self) -> Option<Event> {
        None
    }

    /// Counters of the whole stack.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        Statistics::default()
    }

    /// What the stack was made with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }
}

/// TCP: requests from `any_destination`.
impl Stack {
    /// Answers a held request with SYN-ACK. `Event::Connected` follows when the handshake is complete; data may be
    /// committed before.
    ///
    /// # Errors
    /// `Gone` if the client gave up meanwhile, `Full` at `Limits::connections` (the request is then dropped).
    pub fn accept_incoming(&mut self, _now: Instant, _id: IncomingId) -> Result<ConnectionId, AcceptError> {
        Err(AcceptError::Gone)
    }

    /// Answers a held request with RST: "connection refused". Does nothing if it is gone.
    pub fn refuse_incoming(&mut self, _now: Instant, _id: IncomingId) {}

    /// Forgets a held request without an answer. The client repeats it, which makes a new `Event::Incoming`.
    pub fn ignore_incoming(&mut self, _id: IncomingId) {}

    /// Answers a held request with an ICMP error, whose sender is our address on the link. Does nothing if it is gone.
    pub fn unreachable_incoming(&mut self, _now: Instant, _id: IncomingId, _reason: Unreachable) {}
}

/// TCP: sockets of the stack itself.
impl Stack {
    /// Listens on `local` (an unspecified address means all own addresses of its family), with at most `backlog`
    /// connections that wait for `accept`.
    ///
    /// # Errors
    /// If the address and port are taken or can't be listened on.
    pub fn listen(&mut self, local: SocketAddr, _backlog: usize) -> Result<ListenerId, ListenError> {
        Err(ListenError::InvalidAddress(local))
    }

    /// The oldest connection of a listener whose handshake is complete; `None` until the next `Event::Acceptable`.
    pub fn accept(&mut self, _listener: ListenerId) -> Option<ConnectionId> {
        None
    }

    /// Ends a listener; connections that nobody accepted are reset.
    pub fn unlisten(&mut self, _now: Instant, _listener: ListenerId) {}

    /// Opens a connection. `local` may be any address, own or not (the answer must be routed here), its port 0 means an
    /// ephemeral one; `None` means an own address. `Event::Connected` or `Event::Reset` follows. `random` decides the
    /// ephemeral port.
    ///
    /// # Errors
    /// If no local end is free or the addresses make no connection.
    pub fn connect(
        &mut self,
        _now: Instant,
        _local: Option<SocketAddr>,
        remote: SocketAddr,
        _random: u64,
    ) -> Result<ConnectionId, ConnectError> {
        Err(ConnectError::NoSourceAddress { remote })
    }
}

/// TCP: data and the end of it. A dead id is harmless everywhere: no data, no space, no effect.
impl Stack {
    /// What arrived in order and was not consumed, oldest first, without copying; unused parts are empty and come last.
    /// All empty means no data now: the end of the stream if `Event::PeerClosed` was seen (or `is_finished`).
    #[must_use]
    pub fn receive_chunks(&self, _id: ConnectionId) -> [&[u8]; RECEIVE_CHUNKS] {
        [&[]; RECEIVE_CHUNKS]
    }

    /// Frees the first `count` bytes of `receive_chunks` (at most what is there), which opens the window.
    pub fn consume(&mut self, _now: Instant, _id: ConnectionId, _count: usize) {}

    /// Whether the peer's FIN arrived and everything before it is consumed.
    #[must_use]
    pub fn is_finished(&self, _id: ConnectionId) -> bool {
        true
    }

    /// Copies received data out. `Ok(0)` is the end of the stream (or an empty buffer).
    ///
    /// # Errors
    /// `WouldBlock` without data, `Gone` for a dead id.
    pub fn receive_into(
        &mut self,
        _now: Instant,
        _id: ConnectionId,
        _buffer: &mut [u8],
    ) -> Result<usize, ReceiveError> {
        Err(ReceiveError::Gone)
    }

    /// Contiguous room for data to send, to be filled from the front and then told by `commit`. It may be longer or
    /// shorter than `want`; empty if the send buffer is full (`Event::Writable` follows) or the direction is shut down.
    /// The room is up to 64 KiB: call again after `commit` for more.
    pub fn send_space(&mut self, _id: ConnectionId, _want: usize) -> &mut [u8] {
        &mut []
    }

    /// Sends the first `count` bytes of the last `send_space`.
    pub fn commit(&mut self, _now: Instant, _id: ConnectionId, _count: usize) {}

    /// Copies data into the send buffer; how much it took. Less than all means that `Event::Writable` follows.
    pub fn send(&mut self, _now: Instant, _id: ConnectionId, _data: &[u8]) -> usize {
        0
    }

    /// Ends our direction: FIN after what is queued. Receiving goes on.
    pub fn shutdown(&mut self, _now: Instant, _id: ConnectionId) {}

    /// Sends RST now and forgets the connection. No event follows, the id is dead.
    pub fn abort(&mut self, _now: Instant, _id: ConnectionId) {}

    /// Ends both directions: what is queued is still sent, then FIN; TIME-WAIT goes on inside. Unread data, or data that
    /// arrives later, resets the connection instead (RFC 9293 §3.6.1). No event follows, the id is dead.
    pub fn close(&mut self, _now: Instant, _id: ConnectionId) {}

    /// A snapshot of the connection; `None` for a dead id.
    #[must_use]
    pub fn status(&self, _id: ConnectionId) -> Option<Status> {
        None
    }

    /// Turns Nagle's algorithm on or off for one connection.
    pub fn set_nagle(&mut self, _id: ConnectionId, _on: bool) {}
}

/// UDP and ICMP for any destination.
impl Stack {
    /// The oldest datagram that arrived for a destination nobody is bound to, with `any_destination`.
    pub fn poll_datagram(&mut self) -> Option<Datagram<'_>> {
        None
    }

    /// Sends a datagram. Any source will do: we are a router. Larger ones than the link's MTU are fragmented.
    ///
    /// # Errors
    /// If it is too large, has no way to go, or too much waits for the link.
    pub fn send_datagram(
        &mut self,
        _now: Instant,
        _source: SocketAddr,
        _destination: SocketAddr,
        _payload: &[u8],
    ) -> Result<(), SendDatagramError> {
        Err(SendDatagramError::NoRoute)
    }

    /// Answers a datagram (its ends and the beginning of its payload, as `poll_datagram` gave them) with an ICMP error.
    /// The error's sender is the datagram's destination for `Port` and `Protocol`, otherwise our address on the link.
    pub fn datagram_unreachable(
        &mut self,
        _now: Instant,
        _source: SocketAddr,
        _destination: SocketAddr,
        _payload: &[u8],
        _reason: Unreachable,
    ) {
    }

    /// Answers an echo request: `source` is who was asked, `destination` who asked.
    pub fn send_echo_reply(
        &mut self,
        _now: Instant,
        _source: IpAddr,
        _destination: IpAddr,
        _ident: u16,
        _sequence: u16,
        _payload: &[u8],
    ) {
    }

    /// Answers an echo request with an ICMP error; arguments as in `Event::Echo`.
    pub fn echo_unreachable(&mut self, _now: Instant, _request: &crate::event::EchoRequest, _reason: Unreachable) {}
}
