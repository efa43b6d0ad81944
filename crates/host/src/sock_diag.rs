//! The kernel's socket table over `NETLINK_SOCK_DIAG`: dumps, and an event at each socket's end.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use crate::{Family, Transport};

/// A socket as the kernel's table shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketInfo {
    /// Family of the socket; an IPv6 socket may carry IPv4-mapped addresses.
    pub family: Family,
    /// TCP or UDP.
    pub transport: Transport,
    /// Local address and port; an unspecified address means every address. Port 0: not bound.
    pub local: SocketAddr,
    /// Remote address and port; unspecified with port 0 when not connected.
    pub remote: SocketAddr,
    /// State; UDP knows only `Established` (connected) and `Close` (not connected).
    pub state: State,
    /// Owner of the socket, as seen from the handle's user namespace.
    pub uid: u32,
    /// Inode number; 0 when no file refers to the socket any more.
    pub inode: u64,
    /// `IPV6_V6ONLY`: an IPv6 wildcard that takes no IPv4. Always false for IPv4.
    pub v6only: bool,
    /// Index of the interface the socket is bound to; 0 means any.
    pub interface: u32,
    /// Bytes to be read; connections to be accepted when listening.
    pub receive_queue: u32,
    /// Bytes not acknowledged; the backlog's limit when listening.
    pub send_queue: u32,
    /// TCP's measurements, when [`Query::details`] asked for them.
    pub tcp: Option<TcpDetails>,
}

/// A TCP state, with the kernel's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    /// Data may flow; for UDP: connected.
    Established = 1,
    /// SYN sent.
    SynSent,
    /// SYN received.
    SynReceived,
    /// FIN sent, not acknowledged.
    FinWait1,
    /// FIN sent and acknowledged.
    FinWait2,
    /// Waiting out old segments.
    TimeWait,
    /// No connection; for UDP: not connected.
    Close,
    /// FIN received.
    CloseWait,
    /// FIN received and sent.
    LastAck,
    /// Accepts connections.
    Listen,
    /// Both sent FIN at once.
    Closing,
    /// SYN received, in the listener's request queue.
    NewSynReceived,
    /// Bound, neither listening nor connected (kernels from 6.8 on list it).
    BoundInactive,
}

/// A set of [`State`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct States(u32);

impl States {
    /// Every state that a dump can show.
    pub const ALL: Self = Self(0x3ffe);
    /// Listening TCP sockets; a fast path in the kernel (it walks the listeners only).
    pub const LISTEN: Self = Self(1 << State::Listen as u32);
    /// UDP sockets that are bound and not connected.
    pub const UNCONNECTED: Self = Self(1 << State::Close as u32);
    /// Everything that holds a port for connections to come: listening, and bound but inactive.
    pub const HOLDING: Self = Self(1 << State::Listen as u32 | 1 << State::BoundInactive as u32);
    /// Connections in any state, without listeners and bound ones.
    pub const CONNECTED: Self = Self(0x1b7e);

    /// The set of one state.
    pub fn of(state: State) -> Self {
        Self(1 << state as u32)
    }

    /// This set and that one.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// TCP's measurements of a connection (`struct tcp_info`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpDetails {
    /// Smoothed round-trip time in microseconds.
    pub rtt_microseconds: u32,
    /// Segments retransmitted so far.
    pub retransmits: u32,
    /// Bytes sent and acknowledged.
    pub bytes_acked: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Congestion window in segments.
    pub congestion_window: u32,
}

/// What a dump asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// Family of the sockets.
    pub family: Family,
    /// TCP or UDP.
    pub transport: Transport,
    /// Their states.
    pub states: States,
    /// Whether to ask for [`TcpDetails`].
    pub details: bool,
}

/// A handle on the socket table of one network namespace: the one it was opened in, wherever it is used.
#[derive(Debug)]
pub struct SockDiag {
    dumps: OwnedFd,
    events: Option<OwnedFd>,
}

impl SockDiag {
    /// Opens the table of the caller's network namespace, without events.
    ///
    /// # Errors
    /// The kernel lacks `inet_diag`.
    pub fn open() -> io::Result<Self> {
        unimplemented!()
    }

    /// Calls `each` for every socket that `query` asks for.
    ///
    /// # Errors
    /// The kernel lacks `inet_diag`, `tcp_diag` or `udp_diag` (`ENOENT`).
    pub fn dump(&mut self, query: Query, each: impl FnMut(&SocketInfo)) -> io::Result<()> {
        let _ = (query, each);
        unimplemented!()
    }

    /// Takes the events that are waiting and calls `each` for every socket that has ended. Returns at once.
    ///
    /// # Errors
    /// [`EventsError::Lost`] when the kernel had to drop some: dump again.
    pub fn events(&mut self, each: impl FnMut(&SocketInfo)) -> Result<(), EventsError> {
        let _ = each;
        unimplemented!()
    }

    /// What becomes readable when events wait; `None` for a handle without events.
    pub fn events_fd(&self) -> Option<BorrowedFd<'_>> {
        self.events.as_ref().map(AsFd::as_fd)
    }
}

/// Why events can't be had.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    /// The kernel dropped events because they were not taken in time.
    #[error("socket events were lost")]
    Lost,
    /// Another error of the socket.
    #[error(transparent)]
    Io(#[from] io::Error),
}
