use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::{Network, Transport};

/// A network that a host has joined besides its own, and its addresses there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// The network.
    pub network: String,
    /// The host's IPv4 address there.
    pub address_v4: Ipv4Addr,
    /// The host's IPv6 address there; `None` where the kernel has no IPv6.
    pub address_v6: Option<Ipv6Addr>,
}

impl Joined {
    /// Both, as far as there are.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        std::iter::once(IpAddr::V4(self.address_v4)).chain(self.address_v6.map(IpAddr::V6))
    }
}

/// Asks for a place for a host of another network. `POST /v1/guests`, from that network's engine; the answer is a stream of
/// [`GuestEvent`]s, one JSON object a line. The place is kept as long as the connection lasts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestRequest {
    /// The host's name, which no other host of the network may have.
    pub name: String,
    /// Its own network.
    pub home: String,
    /// Path of its network namespace, as in [`Enter`](crate::Enter).
    pub namespace: String,
    /// Number of the interface that it gets: 1 for `eth1`.
    pub interface: u32,
    /// First and last port of its kernel's ephemeral range.
    pub ephemeral_range: (u16, u16),
}

/// What a host's own engine is told by that of a network that it joins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum GuestEvent {
    /// The first event: the interface is there, and waits for its addresses.
    Joined {
        /// The host's addresses.
        joined: Joined,
        /// The network.
        network: Box<Network>,
    },
    /// The network's hosts, now and whenever they have changed.
    Names {
        /// By name.
        hosts: BTreeMap<String, Named>,
    },
}

/// A host as others know it by its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Its addresses in the network.
    pub addresses: Vec<IpAddr>,
    /// What it offers there.
    #[serde(default)]
    pub offers: Offers,
}

/// Ports at which others reach services of a host. Of a guest its own engine tells them: `PUT /v1/guests/NAME/offers`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offers {
    /// TCP ports.
    pub tcp: BTreeSet<u16>,
    /// UDP ports.
    pub udp: BTreeSet<u16>,
}

impl Offers {
    /// The ports of one transport.
    pub fn ports(&self, transport: Transport) -> &BTreeSet<u16> {
        match transport {
            Transport::Tcp => &self.tcp,
            Transport::Udp => &self.udp,
        }
    }
}
