//! What the engine and the agent say to each other: one JSON message a packet, with file descriptors beside it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{HostConfig, InsideSocket, Interface, Step, Subnet};
use crate::Family;

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// The first one: makes the fabric. With a directory comes the descriptor of the lock in it.
    Create {
        subnet: Subnet,
        gateway_mac: [u8; 6],
        mtu: u16,
        directory: Option<PathBuf>,
    },
    /// Other addresses for a fabric without hosts.
    Renumber {
        subnet: Subnet,
    },
    AddHost(HostConfig),
    RemoveHost {
        name: String,
    },
    Sockets {
        host: String,
        kind: InsideSocket,
        family: Family,
        count: usize,
    },
    SockDiag {
        host: String,
    },
    PacketSocket {
        host: String,
    },
    /// A port for a host of another fabric.
    Plug,
    Unplug {
        port: u32,
    },
    Furnish {
        host: String,
        interface: Interface,
    },
    /// The machine has replaced what a host covers.
    CoverNames {
        host: String,
        resolv_conf: PathBuf,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    /// The TAP device, and the user namespace unless it is privileged.
    Created {
        privileged: bool,
        ipv6: bool,
    },
    /// Numbers of the agent's descriptors. Handed over are the network and the mount namespace, the time namespace if there
    /// is one, the setting `ip_unprivileged_port_start`, a socket for dumps, and what [`Reply::SockDiag`] hands over.
    HostAdded {
        user: Option<i32>,
        network: i32,
        mount: i32,
        time: Option<i32>,
        network_inode: u64,
    },
    Renumbered,
    HostRemoved,
    /// The descriptors asked for.
    Sockets,
    /// Two descriptors, for dumps and for events, and up to two with counters.
    SockDiag,
    /// The descriptor asked for.
    PacketSocket,
    /// One descriptor: a netlink socket of the fabric.
    Plugged {
        port: u32,
    },
    Unplugged,
    Furnished,
    NamesCovered,
    UnknownHost,
    HostExists,
    Failed {
        step: Step,
        detail: Option<String>,
        errno: i32,
    },
}
