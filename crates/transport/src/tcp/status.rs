//! What a caller may know about a connection.

use std::net::SocketAddr;
use std::time::Duration;

/// States of RFC 9293 §3.3.2. LISTEN is a listener's and TIME-WAIT is kept apart from connections, but both are named here
/// so that the whole diagram can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Nothing: not yet begun, or over.
    Closed,
    /// Waits for requests.
    Listen,
    /// Our SYN is sent.
    SynSent,
    /// Both SYNs are on the way, ours is not acknowledged.
    SynReceived,
    /// Data flows.
    Established,
    /// Our FIN is sent.
    FinWait1,
    /// Our FIN is acknowledged; the peer's is awaited.
    FinWait2,
    /// The peer's FIN arrived; ours is not sent.
    CloseWait,
    /// Both FINs crossed; the acknowledgement of ours is awaited.
    Closing,
    /// The peer's FIN came first; the acknowledgement of ours is awaited.
    LastAck,
    /// Over; kept so that late segments do no harm.
    TimeWait,
}

/// A snapshot of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// State by RFC 9293.
    pub state: State,
    /// Our end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// Bytes that arrived and were not consumed.
    pub readable: usize,
    /// Bytes that were committed and not yet acknowledged (sent or not).
    pub queued: usize,
    /// Of these, bytes that are sent.
    pub in_flight: usize,
    /// Stream bytes received in order since the beginning.
    pub bytes_received: u64,
    /// Stream bytes acknowledged by the peer since the beginning.
    pub bytes_acknowledged: u64,
    /// Segments sent again.
    pub retransmits: u64,
    /// Smoothed round-trip time, once measured.
    pub round_trip: Option<Duration>,
    /// Congestion window in bytes.
    pub congestion_window: usize,
    /// Window that the peer offers, in bytes.
    pub peer_window: usize,
    /// Window that we offer, in bytes.
    pub own_window: usize,
    /// Largest payload of one segment to this peer.
    pub segment_size: usize,
}
