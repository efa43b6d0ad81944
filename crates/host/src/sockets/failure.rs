//! What became of a call on a socket, with the kernel's numbers translated.

use std::io;

use rustix::io::Errno;

/// What became of an outbound connection, or of a datagram that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Failure {
    /// The peer refused (RST, or ICMP port unreachable).
    #[error("connection refused")]
    Refused,
    /// The peer reset the connection.
    #[error("connection reset")]
    Reset,
    /// No route, ICMP net unreachable, or a family that the machine does not have.
    #[error("network unreachable")]
    NetUnreachable,
    /// ICMP host unreachable, or no answer to ARP. The kernel tells IPv4's "administratively prohibited" as this too.
    #[error("host unreachable")]
    HostUnreachable,
    /// ICMPv6 administratively prohibited, or a local rule forbids it.
    #[error("prohibited")]
    Prohibited,
    /// No answer.
    #[error("timed out")]
    TimedOut,
    /// Datagram larger than the path takes.
    #[error("message too big")]
    TooBig,
    /// No free local port towards this destination, or the one asked for is taken.
    #[error("no free local port")]
    NoPort,
    /// The limit of open files, or memory.
    #[error("out of file descriptors or memory")]
    NoResources,
    /// The peer closed its receiving side: what is sent is lost.
    #[error("broken pipe")]
    BrokenPipe,
    /// Another errno.
    #[error("{}", io::Error::from_raw_os_error(*.0))]
    Other(i32),
}

impl Failure {
    /// Classifies an error of a socket call.
    pub fn of(error: &io::Error) -> Self {
        Self::from(Errno::from_io_error(error).unwrap_or(Errno::IO))
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::CONNREFUSED => Self::Refused,
            Errno::CONNRESET => Self::Reset,
            // A machine without the family at all has no route there either.
            Errno::NETUNREACH | Errno::NETDOWN | Errno::AFNOSUPPORT => Self::NetUnreachable,
            Errno::HOSTUNREACH | Errno::HOSTDOWN => Self::HostUnreachable,
            Errno::ACCESS | Errno::PERM => Self::Prohibited,
            Errno::TIMEDOUT => Self::TimedOut,
            Errno::MSGSIZE => Self::TooBig,
            Errno::ADDRNOTAVAIL | Errno::ADDRINUSE => Self::NoPort,
            Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS => Self::NoResources,
            Errno::PIPE => Self::BrokenPipe,
            other => Self::Other(other.raw_os_error()),
        }
    }
}
