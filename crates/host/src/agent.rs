//! The agent: a child process that owns the namespaces, and [`Fabric`], the engine's handle on it.
//!
//! The agent is a re-exec of the engine's own program. It speaks one request and one answer at a time over a
//! `SOCK_SEQPACKET` pair and passes file descriptors with `SCM_RIGHTS`. When the engine's end closes, for whatever
//! reason, the agent kills every process in its namespaces and exits, and the kernel frees the rest.

mod blank;
mod covers;
mod directory;
mod error;
mod fabric;
mod links;
mod namespaces;
mod neighbours;
mod network;
mod protocol;
mod server;
mod sysctl;

use std::{
    ffi::OsString,
    io,
    net::{Ipv4Addr, Ipv6Addr},
    os::fd::AsFd,
    path::PathBuf,
    process::ExitCode,
};

use serde::{Deserialize, Serialize};

pub use self::directory::{Directory, remove_directory};
pub use self::error::{FabricError, RequestError, Step};
pub use self::fabric::Fabric;
pub(crate) use self::namespaces::is_privileged;
use crate::{binds::Place, enter::Namespaces, passing, sock_diag::SockDiag};

/// What [`Fabric::create`] needs to know.
#[derive(Debug)]
pub struct FabricConfig {
    /// The program that calls [`main`] when it gets `arguments`: usually `/proc/self/exe` with the hidden `__agent`.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// The network's addresses.
    pub subnet: Subnet,
    /// The gateway's Ethernet address (hosts get a permanent neighbour entry for it).
    pub gateway_mac: [u8; 6],
    /// MTU of every link.
    pub mtu: u16,
    /// A directory that the agent removes when the engine is gone.
    pub directory: Option<Directory>,
}

/// The addresses of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// IPv4 address of the gateway.
    pub gateway_v4: Ipv4Addr,
    /// IPv4 prefix length.
    pub prefix_v4: u8,
    /// IPv6 address of the gateway.
    pub gateway_v6: Ipv6Addr,
    /// IPv6 prefix length.
    pub prefix_v6: u8,
}

/// What [`Fabric::add_host`] needs to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HostConfig {
    /// Name of the host, unique in the fabric.
    pub name: String,
    /// Its IPv4 address, inside the subnet.
    pub address_v4: Ipv4Addr,
    /// Its IPv6 address, inside the subnet; without one it has none.
    pub address_v6: Option<Ipv6Addr>,
    /// First and last port of its kernel's ephemeral range.
    pub ephemeral_range: (u16, u16),
    /// The file that programs in the host see as `/etc/resolv.conf`. It must exist and stay.
    pub resolv_conf: PathBuf,
}

/// A host's way into another network, as [`Fabric::furnish`] sets it up.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Interface {
    /// Its number, the 1 of `eth1`.
    pub number: u32,
    /// The host's IPv4 address there.
    pub address_v4: Ipv4Addr,
    /// Its IPv6 address there, if it has one.
    pub address_v6: Option<Ipv6Addr>,
    /// The other network's addresses.
    pub subnet: Subnet,
    /// Ethernet address of the other network's gateway.
    pub gateway_mac: [u8; 6],
}

/// A host that the agent made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostNamespace {
    /// Its name.
    pub name: String,
    /// How to get into it; valid while the agent lives.
    pub namespaces: Namespaces,
    /// Inode number of its network namespace, as [`crate::process`] wants it.
    pub network_inode: u64,
    /// Ethernet address of its interface `eth0`; see [`host_mac`].
    pub mac: [u8; 6],
}

/// What [`Fabric::add_host`] has made, with two handles on its socket table. They keep its namespace alive.
#[derive(Debug)]
pub struct NewHost {
    /// The host.
    pub namespace: HostNamespace,
    /// Its socket table, with events.
    pub table: SockDiag,
    /// The same, without.
    pub dumps: SockDiag,
    /// It as the place of binds.
    pub place: Place,
}

/// What a socket that the agent makes inside a host is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum InsideSocket {
    /// TCP, may be bound to any client's address and port (mechanism 3): `IP_TRANSPARENT`, `SO_MARK` 1,
    /// `SO_REUSEADDR`, `TCP_NODELAY`.
    TransparentStream,
    /// TCP with the host's own addresses only.
    Stream,
    /// UDP with the host's own addresses only: reaches services that are bound to its loopback.
    Datagram,
    /// TCP as `socket(2)` makes it for a program in the host: nothing is set.
    Plain,
}

/// Most sockets that one call of [`Fabric::sockets`] makes.
pub const MAX_SOCKETS: usize = passing::MAX_DESCRIPTORS;

/// The Ethernet address of a host's interface: `02:4d` and the four bytes of its IPv4 address.
pub fn host_mac(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x4d, a, b, c, d]
}

/// The agent itself: call this, and nothing before it, in a program started with the hidden argument. Returns when the
/// engine is gone and everything is cleaned up. Standard input is the engine's socket.
pub fn main() -> ExitCode {
    let stdin = io::stdin();
    server::serve(stdin.as_fd())
}
