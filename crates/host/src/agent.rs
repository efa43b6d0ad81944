//! The agent: a child process that owns the namespaces, and [`Fabric`], the engine's handle on it.
//!
//! The agent is a re-exec of the engine's own program. It speaks one request and one answer at a time over a
//! `SOCK_SEQPACKET` pair and passes file descriptors with `SCM_RIGHTS`. When the engine's end closes, for whatever
//! reason, the agent kills every process in its namespaces and exits, and the kernel frees the rest.

use std::{
    ffi::OsString,
    io,
    net::{Ipv4Addr, Ipv6Addr},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{Family, enter::Namespaces, sock_diag::SockDiag, tap::Tap};

/// What [`Fabric::create`] needs to know.
#[derive(Clone, Debug)]
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
    /// Files and directories (removed with what they hold) that the agent removes when the engine is gone.
    pub remove_on_exit: Vec<PathBuf>,
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
    /// Its IPv6 address, inside the subnet.
    pub address_v6: Ipv6Addr,
    /// First and last port of its kernel's ephemeral range.
    pub ephemeral_range: (u16, u16),
    /// The file that programs in the host see as `/etc/resolv.conf`. It must exist and stay.
    pub resolv_conf: PathBuf,
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
}

/// The engine's handle on the agent. Requests block for milliseconds; they may come from several threads and are
/// served one after the other. Dropping it ends the agent and everything in its namespaces.
#[derive(Debug)]
pub struct Fabric {}

impl Fabric {
    /// Starts the agent, which makes the fabric namespace with its bridge and the TAP device.
    ///
    /// # Errors
    /// The step that failed and the kernel's reason; [`crate::check::explain`] names cause and fix.
    pub fn create(config: &FabricConfig) -> Result<(Self, Tap), FabricError> {
        let _ = config;
        unimplemented!()
    }

    /// Process ID of the agent.
    pub fn agent_pid(&self) -> u32 {
        unimplemented!()
    }

    /// Whether the network was made by real root, without a user namespace (decision D1).
    pub fn is_privileged(&self) -> bool {
        unimplemented!()
    }

    /// Whether the machine's kernel has IPv6. Without it hosts are made with IPv4 only.
    pub fn has_ipv6(&self) -> bool {
        unimplemented!()
    }

    /// Makes a host: network namespace, veth into the bridge, addresses, routes, sysctls, mount namespace.
    ///
    /// # Errors
    /// Nothing is left of a host that could not be made.
    pub fn add_host(&self, config: &HostConfig) -> Result<HostNamespace, RequestError> {
        let _ = config;
        unimplemented!()
    }

    /// Ends every process in a host (SIGTERM, and SIGKILL to what is left after `grace`) and removes it.
    ///
    /// # Errors
    /// [`RequestError::UnknownHost`], or the agent is gone.
    pub fn remove_host(&self, name: &str, grace: Duration) -> Result<(), RequestError> {
        let _ = (name, grace);
        unimplemented!()
    }

    /// Makes `count` non-blocking, close-on-exec sockets inside a host (at most [`MAX_SOCKETS`] a call).
    ///
    /// # Errors
    /// [`RequestError::UnknownHost`], the agent is out of file descriptors, or it is gone.
    pub fn sockets(
        &self,
        host: &str,
        kind: InsideSocket,
        family: Family,
        count: usize,
    ) -> Result<Vec<OwnedFd>, RequestError> {
        let _ = (host, kind, family, count);
        unimplemented!()
    }

    /// A sock_diag handle inside a host, subscribed to the end of every TCP and UDP socket.
    ///
    /// # Errors
    /// [`RequestError::UnknownHost`], or the agent is gone.
    pub fn sock_diag(&self, host: &str) -> Result<SockDiag, RequestError> {
        let _ = host;
        unimplemented!()
    }
}

/// Readable (with end of file) when the agent is gone. Not for reading from.
impl AsFd for Fabric {
    fn as_fd(&self) -> BorrowedFd<'_> {
        unimplemented!()
    }
}

/// Most sockets that one call of [`Fabric::sockets`] makes.
pub const MAX_SOCKETS: usize = 128;

/// The Ethernet address of a host's interface: `02:4d` and the four bytes of its IPv4 address.
pub fn host_mac(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x4d, a, b, c, d]
}

/// A step of making the fabric or a host, for [`FabricError`] and [`RequestError::Failed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum Step {
    /// Starting the agent's program.
    #[error("start the agent")]
    StartAgent,
    /// Talking to it.
    #[error("talk to the agent")]
    TalkToAgent,
    /// `unshare(CLONE_NEWUSER)`.
    #[error("create a user namespace")]
    UserNamespace,
    /// Writing `/proc/self/uid_map`, `gid_map` or `setgroups`.
    #[error("map the user and group IDs")]
    IdMap,
    /// `unshare(CLONE_NEWNET)`.
    #[error("create a network namespace")]
    NetworkNamespace,
    /// `unshare(CLONE_NEWNS)`, or making mounts in it private.
    #[error("create a mount namespace")]
    MountNamespace,
    /// Opening `/dev/net/tun`.
    #[error("open /dev/net/tun")]
    OpenTun,
    /// `TUNSETIFF` and its companions.
    #[error("create the TAP device")]
    CreateTap,
    /// Making the bridge or putting the TAP device into it.
    #[error("create the bridge")]
    Bridge,
    /// Making the veth pair.
    #[error("create the host's interface")]
    Veth,
    /// Addresses, routes, rules and neighbours of a host.
    #[error("set the host's addresses and routes")]
    Addresses,
    /// A file below `/proc/sys/net`.
    #[error("set a network sysctl")]
    Sysctl,
    /// Mounting the host's `/etc/resolv.conf`.
    #[error("mount /etc/resolv.conf")]
    ResolvConf,
    /// Making a socket inside a host.
    #[error("create a socket in the host")]
    Socket,
    /// Opening a sock_diag socket inside a host.
    #[error("watch the host's sockets")]
    SockDiag,
    /// Going from one namespace to another.
    #[error("enter a namespace")]
    EnterNamespace,
}

/// Why [`Fabric::create`] failed.
#[derive(Debug, thiserror::Error)]
#[error("can't {step}{}: {source}", detail.as_deref().map(|text| format!(" ({text})")).unwrap_or_default())]
pub struct FabricError {
    /// What was being done.
    pub step: Step,
    /// The file or object concerned, where there are several.
    pub detail: Option<String>,
    /// The kernel's reason.
    pub source: io::Error,
}

/// Why a request to the agent failed.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// No host has this name.
    #[error("no host has the name {0:?}")]
    UnknownHost(String),
    /// A host of this name, or with this address, exists.
    #[error("a host named {0:?} exists already")]
    HostExists(String),
    /// A step failed; what it had made before is undone.
    #[error(transparent)]
    Failed(FabricError),
    /// The agent is gone, and every host with it.
    #[error("the agent is gone")]
    AgentGone,
}

/// The agent itself: call this, and nothing before it, in a program started with the hidden argument. Returns when the
/// engine is gone and everything is cleaned up.
pub fn main() -> ExitCode {
    unimplemented!()
}
