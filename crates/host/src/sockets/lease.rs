use std::{
    collections::HashSet,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, ipproto, socket_with, sockopt},
};

use super::{HoldError, stream::socket_address};
use crate::{
    Family, Transport, holder,
    sock_diag::{Query, SockDiag, State, States},
};

/// A TCP port that is kept, on every address of both families, for a server that will come: bound, not listening, with
/// `SO_REUSEADDR` set.
///
/// A server that sets `SO_REUSEADDR`, as servers do, binds and listens as if nothing were there. Nobody else gets the
/// port: the kernel gives it neither to a bind to port 0 nor to an outgoing connection, and refuses it to whoever asks for
/// it by number without that option. While nobody listens, connections are refused.
#[derive(Debug)]
pub struct LeasedPort {
    socket: OwnedFd,
    port: u16,
}

impl LeasedPort {
    /// Keeps a port that the kernel chooses among those that nobody has.
    ///
    /// # Errors
    /// [`HoldError::InUse`]: the kernel has none left.
    pub fn any() -> Result<Self, HoldError> {
        let (socket, every) = open()?;
        let address = SocketAddr::new(every, 0);
        bind(&socket, &address).map_err(|errno| HoldError::of(address, errno))?;
        let bound = getsockname(&socket).map_err(io::Error::from).and_then(|bound| socket_address(&bound));
        let port = bound.map_err(HoldError::Io)?.port();
        Self::shared(socket, address, port)
    }

    /// Keeps this port, which no socket may be bound to; connections of an earlier server may linger there.
    ///
    /// # Errors
    /// See [`HoldError`].
    pub fn of(port: u16) -> Result<Self, HoldError> {
        let (socket, every) = open()?;
        let address = SocketAddr::new(every, port);
        match bind(&socket, &address) {
            Ok(()) => return Self::shared(socket, address, port),
            Err(Errno::ADDRINUSE) if only_remains(port).map_err(HoldError::Io)? => {}
            Err(errno) => return Err(HoldError::of(address, errno)),
        }
        let shared = Self::shared(socket, address, port)?;
        bind(&shared.socket, &address).map_err(|errno| HoldError::of(address, errno))?;
        Ok(shared)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn shared(socket: OwnedFd, address: SocketAddr, port: u16) -> Result<Self, HoldError> {
        sockopt::set_socket_reuseaddr(&socket, true).map_err(|errno| HoldError::of(address, errno))?;
        Ok(Self { socket, port })
    }
}

impl AsFd for LeasedPort {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The TCP ports of the caller's network namespace on which somebody listens.
///
/// # Errors
/// The socket table can't be read.
pub fn listening_ports() -> io::Result<HashSet<u16>> {
    let mut table = SockDiag::open()?;
    let mut ports = HashSet::new();
    for family in [Family::V4, Family::V6] {
        table.dump(Query::new(family, Transport::Tcp, States::LISTEN), |socket| {
            ports.insert(socket.local.port());
        })?;
    }
    Ok(ports)
}

/// Whether nothing but connections is on a port.
fn only_remains(port: u16) -> io::Result<bool> {
    for every in [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)] {
        let sockets = holder::sockets(Transport::Tcp, every, port)?;
        if sockets.iter().any(|socket| matches!(socket.state, State::Listen | State::BoundInactive | State::Close)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A socket for every address of both families, or of IPv4 where there is no IPv6.
fn open() -> Result<(OwnedFd, IpAddr), HoldError> {
    let flags = SocketFlags::CLOEXEC;
    let any: IpAddr = Ipv6Addr::UNSPECIFIED.into();
    let failed = |errno| HoldError::of(SocketAddr::new(any, 0), errno);
    if std::path::Path::new("/proc/net/if_inet6").exists()
        && let Ok(socket) = socket_with(AddressFamily::INET6, SocketType::STREAM, flags, Some(ipproto::TCP))
    {
        sockopt::set_ipv6_v6only(&socket, false).map_err(failed)?;
        return Ok((socket, any));
    }
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, Some(ipproto::TCP)).map_err(failed)?;
    Ok((socket, Ipv4Addr::UNSPECIFIED.into()))
}
