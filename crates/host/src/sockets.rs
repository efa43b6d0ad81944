//! Sockets of the machine: forwards' ports, outbound connections, ping, pipes for splice.
//!
//! Everything here is non-blocking and close-on-exec, and lives in the caller's network namespace.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

/// A TCP port that is held: bound, but not listening, so that connections are refused.
#[derive(Debug)]
pub struct HeldPort {}

impl HeldPort {
    /// Takes `address` (port 0: the kernel chooses). IPv6 sockets are v6-only.
    ///
    /// # Errors
    /// See [`HoldError`].
    pub fn hold(address: SocketAddr) -> Result<Self, HoldError> {
        let _ = address;
        unimplemented!()
    }

    /// The address that is held.
    ///
    /// # Errors
    /// Only if the kernel refuses `getsockname`.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        unimplemented!()
    }

    /// Starts to listen: connections are accepted from now on.
    ///
    /// # Errors
    /// The kernel's reason; another socket may listen on the same port through `SO_REUSEADDR` (`EADDRINUSE`).
    pub fn listen(&self, backlog: u32) -> io::Result<()> {
        let _ = backlog;
        unimplemented!()
    }

    /// Stops to listen and keeps the port: connections are refused from now on; those in the queue are reset.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn unlisten(&self) -> io::Result<()> {
        unimplemented!()
    }

    /// Takes a connection from the queue. `Ok(None)`: none waits, or the one that did is gone.
    ///
    /// # Errors
    /// Out of file descriptors or memory: stop polling for a while.
    pub fn accept(&self) -> io::Result<Option<(OwnedFd, SocketAddr)>> {
        unimplemented!()
    }
}

impl AsFd for HeldPort {
    fn as_fd(&self) -> BorrowedFd<'_> {
        unimplemented!()
    }
}

/// Why a port can't be held.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// Another socket has it; [`crate::holder::holders`] says whose.
    #[error("{0} is in use")]
    InUse(SocketAddr),
    /// Ports below `net.ipv4.ip_unprivileged_port_start` need a privilege.
    #[error("{address} is privileged: ports below {first} need CAP_NET_BIND_SERVICE")]
    Privileged {
        /// What was asked for.
        address: SocketAddr,
        /// First port that everybody may bind (`net.ipv4.ip_unprivileged_port_start`).
        first: u16,
    },
    /// The machine does not have the address.
    #[error("{0} is no address of this machine")]
    NoSuchAddress(SocketAddr),
    /// The limit of open files is reached.
    #[error("the limit of open files ({limit}) is reached")]
    FileLimit {
        /// `RLIMIT_NOFILE`.
        limit: u64,
    },
    /// Something else.
    #[error(transparent)]
    Io(io::Error),
}

/// What became of an outbound connection, or of a datagram that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The peer refused (RST, or ICMP port unreachable).
    Refused,
    /// The peer reset the connection.
    Reset,
    /// No route, or ICMP net unreachable.
    NetUnreachable,
    /// ICMP host unreachable, or no answer to ARP.
    HostUnreachable,
    /// ICMP administratively prohibited, or a local rule forbids it.
    Prohibited,
    /// No answer.
    TimedOut,
    /// Datagram larger than the path takes.
    TooBig,
    /// No free local port towards this destination.
    NoPort,
    /// The limit of open files, or memory.
    NoResources,
    /// Another errno.
    Other(i32),
}

impl Failure {
    /// Classifies an error of a socket call.
    pub fn of(error: &io::Error) -> Self {
        let _ = error;
        unimplemented!()
    }
}

/// Starts a TCP connection. The socket becomes writable when it is decided; then ask [`take_error`].
///
/// # Errors
/// A failure that is known at once, such as no route.
pub fn connect(remote: SocketAddr) -> Result<OwnedFd, Failure> {
    let _ = remote;
    unimplemented!()
}

/// Binds a socket (also a transparent one from inside a host) and starts to connect it; as [`connect`].
///
/// # Errors
/// A failure that is known at once; [`Failure::NoPort`] when `local` is taken.
pub fn bind_and_connect(socket: BorrowedFd<'_>, local: SocketAddr, remote: SocketAddr) -> Result<(), Failure> {
    let _ = (socket, local, remote);
    unimplemented!()
}

/// The pending error of a socket (`SO_ERROR`), which is cleared.
pub fn take_error(socket: BorrowedFd<'_>) -> Option<Failure> {
    let _ = socket;
    unimplemented!()
}

/// Makes the next close send RST (`SO_LINGER` with 0 seconds), and closes.
pub fn reset(socket: OwnedFd) {
    let _ = socket;
    unimplemented!()
}

/// A UDP socket that is connected to `remote`, so that errors of the path come back ([`take_error`] or a failed call).
///
/// # Errors
/// As [`connect`].
pub fn udp_connect(remote: SocketAddr) -> Result<OwnedFd, Failure> {
    let _ = remote;
    unimplemented!()
}

/// A UDP socket bound to `address`; IPv6 sockets are v6-only.
///
/// # Errors
/// As [`HeldPort::hold`].
pub fn udp_bind(address: SocketAddr) -> Result<OwnedFd, HoldError> {
    let _ = address;
    unimplemented!()
}

/// An ICMP echo socket towards one address: unprivileged (`SOCK_DGRAM`) where the machine allows it, else raw.
#[derive(Debug)]
pub struct PingSocket {}

/// What a [`PingSocket`] heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pong {
    /// The answer to our request; its payload is the first `length` bytes of the buffer.
    Reply {
        /// Sequence number of the request.
        sequence: u16,
        /// Payload length.
        length: usize,
    },
    /// The path or the peer refused.
    Failed(Failure),
}

impl PingSocket {
    /// Opens a socket towards `remote`.
    ///
    /// # Errors
    /// [`Failure::Prohibited`] when neither `net.ipv4.ping_group_range` nor CAP_NET_RAW allow it.
    pub fn open(remote: IpAddr) -> Result<Self, Failure> {
        let _ = remote;
        unimplemented!()
    }

    /// Sends an echo request.
    ///
    /// # Errors
    /// A failure that is known at once, or of an earlier request.
    pub fn send(&self, sequence: u16, payload: &[u8]) -> Result<(), Failure> {
        let _ = (sequence, payload);
        unimplemented!()
    }

    /// Takes what was heard. `None`: nothing waits.
    pub fn receive(&self, payload: &mut [u8]) -> Option<Pong> {
        let _ = payload;
        unimplemented!()
    }
}

impl AsFd for PingSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        unimplemented!()
    }
}

/// A pipe for [`splice_in`] and [`splice_out`], taken from a [`PipePool`].
#[derive(Debug)]
pub struct Pipe {}

impl Pipe {
    /// Bytes that are inside.
    pub fn queued(&self) -> usize {
        unimplemented!()
    }
}

/// What a splice did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spliced {
    /// This many bytes moved.
    Moved(usize),
    /// The socket has ended (end of file); for `splice_in` only.
    End,
    /// Nothing now: wait until the socket is ready.
    WouldBlock,
}

/// Moves bytes from a socket into a pipe.
///
/// # Errors
/// The socket's error.
pub fn splice_in(socket: BorrowedFd<'_>, pipe: &mut Pipe) -> Result<Spliced, Failure> {
    let _ = (socket, pipe);
    unimplemented!()
}

/// Moves bytes from a pipe into a socket.
///
/// # Errors
/// The socket's error.
pub fn splice_out(pipe: &mut Pipe, socket: BorrowedFd<'_>) -> Result<Spliced, Failure> {
    let _ = (pipe, socket);
    unimplemented!()
}

/// Empty pipes for reuse, so that an idle connection costs none.
#[derive(Debug, Default)]
pub struct PipePool {}

impl PipePool {
    /// A pool that keeps at most `keep` idle pipes of `capacity` bytes (rounded up by the kernel).
    pub fn new(keep: usize, capacity: usize) -> Self {
        let _ = (keep, capacity);
        unimplemented!()
    }

    /// Takes a pipe.
    ///
    /// # Errors
    /// [`Failure::NoResources`].
    pub fn take(&mut self) -> Result<Pipe, Failure> {
        unimplemented!()
    }

    /// Gives a pipe back; one that still holds bytes is closed.
    pub fn give(&mut self, pipe: Pipe) {
        let _ = pipe;
        unimplemented!()
    }
}

/// Raises the limit of open files to the hard limit and returns it.
///
/// # Errors
/// The kernel's reason.
pub fn raise_file_limit() -> io::Result<u64> {
    unimplemented!()
}
