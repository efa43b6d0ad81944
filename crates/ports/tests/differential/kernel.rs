//! The kernel's sockets, driven by the same operations as the table.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use minato_ports::Transport;
use rustix::fs::fchown;
use rustix::io::{Errno, ioctl_fionbio};
use rustix::net::sockopt::{set_ipv6_v6only, set_socket_linger, set_socket_reuseaddr, set_socket_reuseport};
use rustix::net::{
    AddressFamily, Shutdown, SocketFlags, SocketType, acceptfrom_with, bind, connect, getsockname, listen, shutdown,
    socket_with,
};
use rustix::process::Uid;

use crate::namespace::Users;
use crate::operations::Socket;

/// Whether the kernel let it happen; `Err` is `EADDRINUSE`. Everything else is a fault of the test and panics.
pub(crate) type Verdict<T> = Result<T, ()>;

/// A socket and, when it is connected, the other end.
pub(crate) struct Kernel {
    socket: Option<OwnedFd>,
    peer: Option<OwnedFd>,
}

impl Kernel {
    pub(crate) fn bind(asked: &Socket, users: Users) -> Verdict<Kernel> {
        let family = if asked.address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let kind = match asked.transport {
            Transport::Tcp => SocketType::STREAM,
            Transport::Udp => SocketType::DGRAM,
        };
        // Non-blocking for the sake of accept: one of several listeners has the connection.
        let socket = new_socket(family, kind, SocketFlags::NONBLOCK);
        if family == AddressFamily::INET6 {
            set_ipv6_v6only(&socket, asked.v6only).expect("IPV6_V6ONLY");
        }
        set_socket_reuseaddr(&socket, asked.reuse_address).expect("SO_REUSEADDR");
        set_socket_reuseport(&socket, asked.reuse_port).expect("SO_REUSEPORT");
        give(&socket, asked.uid, users);
        verdict(bind(&socket, &SocketAddr::new(asked.address, asked.port.value())))?;
        Ok(Kernel { socket: Some(socket), peer: None })
    }

    pub(crate) fn listen(&self) -> Verdict<()> {
        verdict(listen(self.socket(), 16))
    }

    pub(crate) fn unlisten(&self) {
        shutdown(self.socket(), Shutdown::Read).expect("shutdown of a listener");
    }

    /// Connects to the port at `address` and takes the connection from whichever of the listeners has got it.
    pub(crate) fn accept(
        address: IpAddr,
        asked: &Socket,
        listeners: &[(usize, &Kernel, u32)],
        users: Users,
    ) -> (usize, Kernel) {
        let client = new_socket(family_of(address), SocketType::STREAM, SocketFlags::empty());
        let target = SocketAddr::new(address, asked.port.value());
        let mut connected = connect(&client, &target);
        // The routes of a fresh namespace come and go for a moment.
        for _ in 0..1000 {
            if connected != Err(Errno::NETUNREACH) {
                break;
            }
            thread::sleep(Duration::from_millis(1));
            connected = connect(&client, &target);
        }
        connected.unwrap_or_else(|error| panic!("connect to a listener on {address}: {error}"));
        for (index, listener, uid) in listeners {
            match acceptfrom_with(listener.socket(), SocketFlags::CLOEXEC) {
                Ok((socket, _)) => {
                    give(&socket, *uid, users);
                    return (*index, Kernel { socket: Some(socket), peer: Some(client) });
                }
                Err(Errno::AGAIN) => {}
                Err(error) => panic!("accept: {error}"),
            }
        }
        panic!("no listener has got the connection to {address}");
    }

    /// Connects to a listener made for this.
    pub(crate) fn connect(&mut self, asked: &Socket, by_v4: bool) {
        let local = self.local();
        let v4 = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let target = match local.to_canonical() {
            IpAddr::V4(_) => v4,
            IpAddr::V6(v6) if v6.is_unspecified() && by_v4 && !asked.v6only => v4,
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        };
        let kind = if asked.transport == Transport::Tcp { SocketType::STREAM } else { SocketType::DGRAM };
        let listener = new_socket(family_of(target), kind, SocketFlags::empty());
        bind(&listener, &SocketAddr::new(target, 0)).expect("bind to any port");
        if asked.transport == Transport::Tcp {
            listen(&listener, 1).expect("listen");
        }
        let port = address_of(&listener).port();
        let named = match target {
            IpAddr::V4(v4) if local.is_ipv6() => IpAddr::V6(v4.to_ipv6_mapped()),
            other => other,
        };
        ioctl_fionbio(self.socket(), false).expect("blocking");
        connect(self.socket(), &SocketAddr::new(named, port)).expect("connect to our own listener");
        self.peer = Some(match asked.transport {
            Transport::Tcp => acceptfrom_with(&listener, SocketFlags::CLOEXEC).expect("accept").0,
            Transport::Udp => listener,
        });
    }

    /// Ends the connection from this side. The kernel keeps TIME-WAIT without a file descriptor.
    pub(crate) fn time_wait(&mut self) {
        self.socket = None;
        self.peer = None;
    }

    /// The local address as the kernel tells it.
    pub(crate) fn local(&self) -> IpAddr {
        address_of(self.socket()).ip()
    }

    fn socket(&self) -> &OwnedFd {
        self.socket.as_ref().expect("not in TIME-WAIT")
    }
}

impl Drop for Kernel {
    /// Frees the port at once: a connection is reset, so that nothing of it stays.
    fn drop(&mut self) {
        if let (Some(socket), Some(_)) = (&self.socket, &self.peer) {
            let _ = set_socket_linger(socket, Some(Duration::ZERO));
        }
    }
}

fn new_socket(family: AddressFamily, kind: SocketType, flags: SocketFlags) -> OwnedFd {
    socket_with(family, kind, SocketFlags::CLOEXEC | flags, None).expect("socket")
}

/// `SO_REUSEPORT` compares the user who owns the socket.
fn give(socket: &OwnedFd, uid: u32, users: Users) {
    if users == Users::Any && uid != 0 {
        fchown(socket, Some(Uid::from_raw(uid)), None).expect("fchown");
    }
}

fn family_of(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 }
}

fn address_of(socket: &OwnedFd) -> SocketAddr {
    getsockname(socket).expect("getsockname").try_into().expect("an IP address")
}

fn verdict(result: rustix::io::Result<()>) -> Verdict<()> {
    match result {
        Ok(()) => Ok(()),
        Err(Errno::ADDRINUSE) => Err(()),
        Err(error) => panic!("{error}"),
    }
}
