//! The kernel's socket table over `NETLINK_SOCK_DIAG`: dumps, and an event at each socket's end.

mod in_use;
mod message;
#[cfg(test)]
pub(crate) use message::request;

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind,
    netlink::{SOCK_DIAG, SocketAddrNetlink},
    socket_with, sockopt,
};

pub use self::in_use::InUse;
use crate::{Family, Transport, netlink::Netlink, plain, sys};

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
    /// `IPV6_V6ONLY`: an IPv6 wildcard that takes no IPv4. Always false for IPv4; the kernel sets it for every socket that
    /// is bound to a real IPv6 address.
    pub v6only: bool,
    /// The kernel's number of it (`SO_COOKIE`), which is never used again and stays with what is left of a connection.
    pub cookie: u64,
    /// Index of the interface the socket is bound to; 0 means any.
    pub interface: u32,
    /// Bytes to be read; connections to be accepted when listening.
    pub receive_queue: u32,
    /// Bytes not acknowledged; the backlog's limit when listening.
    pub send_queue: u32,
    /// TCP's measurements, when [`Query::details`] asked for them.
    pub tcp: Option<TcpDetails>,
}

impl SocketInfo {
    /// The same with [`plain`] addresses.
    #[must_use]
    pub fn with_plain_addresses(self) -> Self {
        Self { local: plain(self.local), remote: plain(self.remote), ..self }
    }
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
    /// Their local port; `None` for every port.
    pub port: Option<u16>,
    /// Whether to ask for [`TcpDetails`].
    pub details: bool,
}

impl Query {
    /// Asks for every socket in these states.
    pub fn new(family: Family, transport: Transport, states: States) -> Self {
        Self { family, transport, states, port: None, details: false }
    }
}

/// A handle on the socket table of one network namespace: the one it was opened in, wherever it is used. It keeps that
/// namespace alive.
#[derive(Debug)]
pub struct SockDiag {
    dumps: Netlink,
    events: Option<Netlink>,
    counters: Option<in_use::Counters>,
}

impl SockDiag {
    /// Opens the table of the caller's network namespace, without events.
    ///
    /// # Errors
    /// The kernel lacks `NETLINK_SOCK_DIAG`.
    pub fn open() -> io::Result<Self> {
        Ok(Self::dumps_only(open_dumps()?))
    }

    /// Out of what [`open_dumps`] has opened.
    pub(crate) fn dumps_only(dumps: OwnedFd) -> Self {
        Self { dumps: Netlink::from(dumps), events: None, counters: None }
    }

    /// Out of what [`open_table`] has opened; `None` if it is something else.
    pub(crate) fn of(descriptors: impl IntoIterator<Item = OwnedFd>) -> Option<Self> {
        let mut descriptors = descriptors.into_iter();
        let (dumps, events) = (Netlink::from(descriptors.next()?), Netlink::from(descriptors.next()?));
        Some(Self { dumps, events: Some(events), counters: in_use::Counters::new(descriptors.collect()) })
    }

    /// This handle for dumps only: whoever does not take events should not let them pile up.
    #[must_use]
    pub fn without_events(mut self) -> Self {
        self.events = None;
        self.counters = None;
        self
    }

    /// How many sockets there are, at a hundredth of a dump's cost. `None` when that can't be told; then dump.
    pub fn in_use(&self) -> Option<InUse> {
        self.counters.as_ref()?.read()
    }

    /// Calls `each` for every socket that `query` asks for. The kernel walks its table in pieces: a socket that comes or
    /// goes meanwhile may be missed, or (rarely) seen twice.
    ///
    /// # Errors
    /// The kernel lacks `inet_diag`, `tcp_diag` or `udp_diag` (`ENOENT`).
    pub fn dump(&mut self, query: Query, mut each: impl FnMut(&SocketInfo)) -> io::Result<()> {
        let mut failure = None;
        self.dumps.dump(message::SOCK_DIAG_BY_FAMILY, &message::request(query), |payload| {
            match message::parse(payload, Some(query.transport)) {
                Ok(mut socket) => {
                    // The kernel lists bound sockets when asked for that state, and then shows their real one.
                    if query.transport == Transport::Tcp && socket.state == State::Close {
                        socket.state = State::BoundInactive;
                    }
                    each(&socket);
                }
                Err(error) => failure = Some(error),
            }
        })?;
        failure.map_or(Ok(()), Err)
    }

    /// Takes the events that are waiting and calls `each` for every socket that has ended. Returns at once. The kernel
    /// tells addresses, ports and transport of an ended socket, but no inode and no owner (both 0). The end of a
    /// connection is no event: what is told is that a listener, or another socket without a peer, has released its port.
    ///
    /// # Errors
    /// [`EventsError::Lost`] when the kernel had to drop some: dump again.
    pub fn events(&mut self, mut each: impl FnMut(&SocketInfo)) -> Result<(), EventsError> {
        let Some(events) = &mut self.events else { return Ok(()) };
        loop {
            let received = events.receive(|_, payload| {
                if let Ok(socket) = message::parse(payload, None) {
                    each(&socket);
                }
            });
            match received {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return Err(EventsError::Lost),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// What becomes readable when events wait; `None` for a handle without events.
    pub fn events_fd(&self) -> Option<BorrowedFd<'_>> {
        self.events.as_ref().map(AsFd::as_fd)
    }
}

/// Opens a socket for dumps of the calling thread's network namespace.
pub(crate) fn open_dumps() -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(SOCK_DIAG))?)
}

/// Opens a non-blocking socket that gets a message at the end of every TCP and UDP socket without a peer in the calling
/// thread's network namespace. Needs `CAP_NET_ADMIN` there.
pub(crate) fn open_events() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(SOCK_DIAG))?;
    sys::attach_filter(socket.as_fd(), &WITHOUT_PEER)?;
    // Room for bursts, such as the end of a program with a thousand ports. The second call is what an ordinary user may.
    if sockopt::set_socket_recv_buffer_size_force(&socket, EVENTS_BUFFER).is_err() {
        sockopt::set_socket_recv_buffer_size(&socket, EVENTS_BUFFER)?;
    }
    // SKNLGRP_INET_TCP_DESTROY to SKNLGRP_INET6_UDP_DESTROY are the groups 1 to 4.
    bind(&socket, &SocketAddrNetlink::new(0, 0b1111))?;
    Ok(socket)
}

/// Opens what [`SockDiag::of`] wants, for the calling thread's network namespace: a socket for dumps, one for events, and
/// what counts sockets, where `/proc` shows it.
pub(crate) fn open_table() -> io::Result<Vec<OwnedFd>> {
    let mut opened = vec![open_dumps()?, open_events()?];
    opened.extend(in_use::open());
    Ok(opened)
}

const EVENTS_BUFFER: usize = 4 << 20;

/// Lets messages through whose remote port is 0, and whose own is not: `idiag_dport` and `idiag_sport`, behind the netlink
/// header and six and four bytes. A busy service ends thousands of connections a second, a client whose sockets are
/// replaced as many that were never bound, and nobody is to be woken for them.
const WITHOUT_PEER: [libc::sock_filter; 6] = [
    statement(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, 16 + 6, 0),
    statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 3),
    statement(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, 16 + 4, 0),
    libc::sock_filter { jt: 1, ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 0) },
    statement(libc::BPF_RET | libc::BPF_K, u32::MAX, 0),
    statement(libc::BPF_RET | libc::BPF_K, 0, 0),
];

/// One statement of a classic BPF program; `otherwise` is how many to leave out when a comparison fails.
const fn statement(code: u32, k: u32, otherwise: u8) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: otherwise, k }
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

#[cfg(test)]
mod tests;
