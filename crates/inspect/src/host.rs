use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::{ForwardSpec, Joined, Policy};

/// A host: one IP address with its own 65,536 ports, in which processes run. `GET /v1/hosts`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// The host's name, unique in its network.
    pub name: String,
    /// Its IPv4 address.
    pub address_v4: Ipv4Addr,
    /// Its IPv6 address; `None` where the kernel has no IPv6.
    pub address_v6: Option<Ipv6Addr>,
    /// Its own address on the machine's loopback, where its services are reached under their own numbers.
    #[serde(default)]
    pub loopback_v4: Option<Ipv4Addr>,
    /// Other networks that it has joined.
    #[serde(default)]
    pub networks: Vec<Joined>,
    /// Its own network, if it is not this one, which it has joined.
    #[serde(default)]
    pub home: Option<String>,
    /// First and last port of its kernel's ephemeral range, both inclusive.
    pub ephemeral_range: (u16, u16),
    /// What it may reach beyond its network.
    #[serde(default)]
    pub policy: Policy,
    /// Whether its programs hold sockets of the machine for their connections from and to the outside.
    #[serde(default)]
    pub direct: bool,
    /// Seconds since the host was created.
    pub age_seconds: f64,
    /// What is forwarded to it from the machine, without what is automatic.
    pub forwards: Vec<ForwardSpec>,
    /// The processes that run in it, by process ID.
    pub processes: Vec<Process>,
}

impl Host {
    /// Its addresses, as far as there are.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        std::iter::once(IpAddr::V4(self.address_v4)).chain(self.address_v6.map(IpAddr::V6))
    }
}

/// A process that runs in a host, or that holds a port of the machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Process ID as seen from the machine.
    pub pid: u32,
    /// Process ID of its parent.
    pub parent: u32,
    /// The kernel's short name of the command, at most 15 bytes (`/proc/PID/comm`).
    pub name: String,
    /// The argument list, lossily decoded; empty when it can't be read.
    pub command: Vec<String>,
    /// Working directory; `None` when it can't be read.
    pub cwd: Option<String>,
    /// Effective user ID as seen from the machine.
    pub uid: u32,
    /// Seconds since the process started.
    pub age_seconds: f64,
}
