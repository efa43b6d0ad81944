//! Ports of the machine that are held, whether or not anybody listens there.

use std::{
    fs, io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, Shutdown, SocketFlags, SocketType, bind, getsockname, ipproto, listen, shutdown, socket_with,
        sockopt,
    },
    process::{Resource, getrlimit},
};

use super::addressed::tell_local;
use super::stream::{prepare, socket_address};
use crate::{Transport, holder, sock_diag::State};

/// How often a port of the kernel's choice may be snatched away before it is an error.
const ATTEMPTS: u32 = 16;

/// A TCP port that is held: bound, but not listening, so that connections are refused.
///
/// `SO_REUSEADDR` is a matter of when. Whoever has it set while bound and not listening shares the port with others
/// that have it too, which would not be holding. Who listens without it can't listen again while connections of before
/// last, or linger in TIME-WAIT. So it is on exactly while the socket listens (connections inherit it), which nobody can
/// share, and off while it only holds.
#[derive(Debug)]
pub struct HeldPort {
    socket: OwnedFd,
}

impl HeldPort {
    /// Takes `address` (port 0: the kernel chooses). IPv6 sockets are v6-only.
    ///
    /// # Errors
    /// See [`HoldError`].
    pub fn hold(address: SocketAddr) -> Result<Self, HoldError> {
        if address.port() == 0 {
            return Self::hold_any(address);
        }
        let held = Self { socket: open(address, SocketType::STREAM)? };
        match bind(&held.socket, &address) {
            Err(Errno::ADDRINUSE) => held.take_from_remains(address)?,
            result => result.map_err(|errno| HoldError::of(address, errno))?,
        }
        Ok(held)
    }

    /// The address that is held.
    ///
    /// # Errors
    /// Only if the kernel refuses `getsockname`.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        socket_address(&getsockname(&self.socket)?)
    }

    /// Starts to listen: connections are accepted from now on.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn listen(&self, backlog: u32) -> io::Result<()> {
        // Connections inherit the options. Who only holds thousands of ports needs none.
        prepare(self.socket.as_fd())?;
        self.listen_plainly(backlog)
    }

    /// The same for connections that have nothing set beside `SO_REUSEADDR`.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn listen_plainly(&self, backlog: u32) -> io::Result<()> {
        sockopt::set_socket_reuseaddr(&self.socket, true)?;
        let result = listen(&self.socket, i32::try_from(backlog).unwrap_or(i32::MAX));
        if result.is_err() {
            sockopt::set_socket_reuseaddr(&self.socket, false)?;
        }
        Ok(result?)
    }

    /// Stops to listen and keeps the port: connections are refused from now on; those in the queue are reset.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn unlisten(&self) -> io::Result<()> {
        sockopt::set_socket_reuseaddr(&self.socket, false)?;
        match shutdown(&self.socket, Shutdown::Read) {
            // It was not listening.
            Err(Errno::NOTCONN) => Ok(()),
            result => Ok(result?),
        }
    }

    /// Takes a connection from the queue, prepared as by [`super::connect`] unless the port listens plainly.
    ///
    /// # Errors
    /// Out of file descriptors or memory: stop polling for a while.
    pub fn accept(&self) -> io::Result<Accepted> {
        match rustix::net::acceptfrom_with(&self.socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok((socket, Some(remote))) => Ok(Accepted::Connection(socket, socket_address(&remote)?)),
            // INVAL: it does not listen.
            Err(Errno::AGAIN | Errno::INVAL) => Ok(Accepted::None),
            // Linux passes pending errors of the new connection on here: accept(2).
            Ok((_, None))
            | Err(
                Errno::INTR
                | Errno::CONNABORTED
                | Errno::PROTO
                | Errno::NETDOWN
                | Errno::NOPROTOOPT
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::NETUNREACH
                | Errno::OPNOTSUPP,
            ) => Ok(Accepted::Gone),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes a port that the kernel chooses. A socket that never asked for its port by number gives it back when it stops
    /// listening; so the choice is made by one socket, and the port taken by another.
    fn hold_any(address: SocketAddr) -> Result<Self, HoldError> {
        let mut last = HoldError::InUse(address);
        for _ in 0..ATTEMPTS {
            let probe = open(address, SocketType::STREAM)?;
            bind(&probe, &address).map_err(|errno| HoldError::of(address, errno))?;
            let chosen = getsockname(&probe).map_err(io::Error::from).and_then(|chosen| socket_address(&chosen));
            let chosen = chosen.map_err(HoldError::Io)?;
            drop(probe);
            match Self::hold(SocketAddr::new(address.ip(), chosen.port())) {
                // Another process was faster.
                Err(error @ HoldError::InUse(_)) => last = error,
                result => return result,
            }
        }
        Err(last)
    }

    /// Binds where only connections of an earlier listener are left, such as those in TIME-WAIT.
    fn take_from_remains(&self, address: SocketAddr) -> Result<(), HoldError> {
        let in_use = HoldError::InUse(address);
        let holders = holder::sockets(Transport::Tcp, address.ip(), address.port()).map_err(HoldError::Io)?;
        if holders.iter().any(|socket| matches!(socket.state, State::Listen | State::BoundInactive | State::Close)) {
            return Err(in_use);
        }
        sockopt::set_socket_reuseaddr(&self.socket, true).map_err(|errno| HoldError::of(address, errno))?;
        bind(&self.socket, &address).map_err(|errno| HoldError::of(address, errno))?;
        // From here on nobody else with SO_REUSEADDR may join. The kernel caches in the port's bucket whether all of its
        // sockets may share it, and looks again only when one of them starts to listen.
        if self.listen_plainly(1).is_err() || self.unlisten().is_err() {
            return Err(in_use);
        }
        Ok(())
    }
}

/// What the queue of a listening port gave.
#[derive(Debug)]
pub enum Accepted {
    /// A connection and where it comes from.
    Connection(OwnedFd, SocketAddr),
    /// One that has died while it waited. There may be more behind it.
    Gone,
    /// None waits.
    None,
}

impl AsFd for HeldPort {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A UDP socket bound to `address`; IPv6 sockets are v6-only. With the unspecified address it tells where datagrams come
/// to ([`super::Inbox`]).
///
/// # Errors
/// As [`HeldPort::hold`].
pub fn udp_bind(address: SocketAddr) -> Result<OwnedFd, HoldError> {
    let socket = open(address, SocketType::DGRAM)?;
    if address.ip().is_unspecified() {
        tell_local(socket.as_fd(), address.is_ipv6()).map_err(HoldError::Io)?;
    }
    bind(&socket, &address).map_err(|errno| HoldError::of(address, errno))?;
    Ok(socket)
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

impl HoldError {
    pub(super) fn of(address: SocketAddr, errno: Errno) -> Self {
        match errno {
            Errno::ADDRINUSE => Self::InUse(address),
            Errno::ACCESS => Self::Privileged { address, first: first_unprivileged_port() },
            // A kernel without IPv6 has no address of it.
            Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT => Self::NoSuchAddress(address),
            Errno::MFILE => Self::FileLimit { limit: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) },
            other => Self::Io(other.into()),
        }
    }
}

/// The first port of this machine that everybody may bind (`net.ipv4.ip_unprivileged_port_start`).
pub fn first_unprivileged_port() -> u16 {
    let value = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    value.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1024)
}

fn open(address: SocketAddr, of_type: SocketType) -> Result<OwnedFd, HoldError> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let protocol = if of_type == SocketType::STREAM { ipproto::TCP } else { ipproto::UDP };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let of = |errno| HoldError::of(address, errno);
    let socket = socket_with(family, of_type, flags, Some(protocol)).map_err(of)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true).map_err(of)?;
    }
    Ok(socket)
}
