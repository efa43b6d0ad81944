//! What the stack tells its caller.

use std::net::{IpAddr, SocketAddr};

use crate::id::{ConnectionId, IncomingId, ListenerId, SocketId};
use crate::types::Unreachable;

/// One thing that happened. Events are edges and coalesce: `Readable` comes again only after more data arrived since the
/// last one was polled, `Writable` only after `send_space` gave less than was wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A client asks to connect where nobody listens and `any_destination` is on. It is held unanswered until one of the
    /// `…_incoming` calls; repeated SYNs of the same client make no further event.
    Incoming(Incoming),
    /// The client of a held request reset it, or it was held too long (75 s): the id is dead.
    IncomingGone(IncomingId),
    /// `accept` has something for this listener.
    Acceptable(ListenerId),
    /// The handshake is complete: of `connect` and of `accept_incoming`.
    Connected(ConnectionId),
    /// More data than before for `receive_chunks`.
    Readable(ConnectionId),
    /// `send_space` was short before and has room now.
    Writable(ConnectionId),
    /// The peer's FIN arrived: after what `receive_chunks` still has, the end of the stream. Comes after the last `Readable`.
    PeerClosed(ConnectionId),
    /// The connection ended otherwise than by two FINs: the id is dead. Data that arrived before is gone.
    Reset(ConnectionId, ResetReason),
    /// Both directions ended in order and our FIN is acknowledged: nothing more will happen. Call `close` to free the id
    /// (data that `receive_chunks` has stays readable until then).
    Closed(ConnectionId),
    /// `receive_bound` has something for this UDP socket.
    DatagramReadable(SocketId),
    /// An echo request to an address that is not ours, with `any_destination`.
    Echo(EchoRequest),
    /// An ICMP error came back for a datagram that was sent with these ends.
    DatagramUnreachable {
        /// Source of the datagram that we sent.
        source: SocketAddr,
        /// Its destination.
        destination: SocketAddr,
        /// What is wrong.
        reason: Unreachable,
    },
    /// An ICMP error came back for an echo reply or request that was sent with these ends.
    EchoUnreachable {
        /// Source of the packet that we sent.
        source: IpAddr,
        /// Its destination.
        destination: IpAddr,
        /// What is wrong.
        reason: Unreachable,
    },
}

/// A connection request that is held unanswered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// Handle for `accept_incoming`, `refuse_incoming`, `ignore_incoming`, `unreachable_incoming`.
    pub id: IncomingId,
    /// The client.
    pub source: SocketAddr,
    /// Whom it wants to reach.
    pub destination: SocketAddr,
}

/// Why a connection is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetReason {
    /// The peer answered our SYN with RST: `ECONNREFUSED`.
    Refused,
    /// The peer sent RST: `ECONNRESET`.
    ByPeer,
    /// Retransmissions, keep-alive probes or the user timeout ran out: `ETIMEDOUT`.
    TimedOut,
    /// An ICMP error answered our SYN: `EHOSTUNREACH`, `ENETUNREACH`, …
    Unreachable(Unreachable),
}

/// An echo request (ping) to an address that is not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EchoRequest {
    /// Who asks.
    pub source: IpAddr,
    /// Who shall answer.
    pub destination: IpAddr,
    /// Tells one pinging program from another.
    pub ident: u16,
    /// Counts up within one program.
    pub sequence: u16,
    /// Hop limit (TTL) that was left when it arrived.
    pub hop_limit: u8,
    /// To be returned unchanged.
    pub payload: Box<[u8]>,
}
