use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// One network: a subnet with the engine as its gateway. `GET /v1/network`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// The network's name, `default` unless `--network` said otherwise.
    pub name: String,
    /// The engine's version (`CARGO_PKG_VERSION`).
    pub version: String,
    /// Process ID of the engine.
    pub engine_pid: u32,
    /// IPv4 subnet in CIDR form, for example `10.77.0.0/24`.
    pub subnet_v4: String,
    /// The engine's IPv4 address in the network.
    pub gateway_v4: Ipv4Addr,
    /// IPv6 unique local prefix in CIDR form (RFC 4193); `None` where the kernel has no IPv6.
    pub subnet_v6: Option<String>,
    /// The engine's IPv6 address in the network, if there is such a prefix.
    pub gateway_v6: Option<Ipv6Addr>,
    /// First address of the block of the machine's loopback in which each host has an address of its own: the one with
    /// the same last byte as the host's.
    pub loopback_v4: Ipv4Addr,
    /// What of the machine its subnet hides from its hosts; usually nothing, since it is chosen so.
    #[serde(default)]
    pub collisions: Vec<Collision>,
    /// Largest IP packet on the network's links, in bytes.
    pub mtu: u16,
}

/// Addresses that the machine knows a way to, or has, and that the network has too. Its hosts reach the network's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collision {
    /// What can't be reached from the hosts, in CIDR form: the part that both have.
    pub hidden: String,
    /// What the machine has: "a route to 10.77.0.0/16 (tun0)".
    pub what: String,
}
