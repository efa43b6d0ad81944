//! The hosts of a network know each other's Ethernet addresses from the start.
//!
//! They could ask (ARP, NDP). But what the kernel learns so has room for 1024 entries in all namespaces of the machine
//! together (`net.ipv4.neigh.default.gc_thresh3`): sixty hosts that all talk to each other would use it up, for the machine
//! too. Entries that are made by hand don't count. They go with their host, so that an address without a host is asked for as
//! ever, and found to be nobody's.

use std::{collections::BTreeMap, net::IpAddr};

use super::{HostConfig, host_mac, links};
use crate::netlink::Netlink;

/// Requests in one go: so many acknowledgements have room in the socket's buffer.
const BATCH: usize = 64;

/// Every host that is plugged in, by its port.
pub(super) struct Neighbours {
    hosts: BTreeMap<u32, Neighbour>,
    ipv6: bool,
}

struct Neighbour {
    addresses: Vec<IpAddr>,
    mac: [u8; 6],
    /// In the host's namespace.
    netlink: Netlink,
}

impl Neighbours {
    pub(super) fn new(ipv6: bool) -> Self {
        Self { hosts: BTreeMap::new(), ipv6 }
    }

    /// Makes a new host and the others known to each other. What fails is asked for on the link.
    pub(super) fn introduce(&mut self, port: u32, config: &HostConfig, netlink: Netlink) {
        let v6 = config.address_v6.filter(|_| self.ipv6).map(IpAddr::V6);
        let addresses = std::iter::once(IpAddr::V4(config.address_v4)).chain(v6).collect();
        let mut new = Neighbour { addresses, mac: host_mac(config.address_v4), netlink };
        for other in self.hosts.values_mut() {
            let _ = other.netlink.requests(new.entries());
        }
        let mut others: Vec<_> = self.hosts.values().flat_map(Neighbour::entries).collect();
        while !others.is_empty() {
            let rest = others.split_off(others.len().min(BATCH));
            let _ = new.netlink.requests(std::mem::replace(&mut others, rest));
        }
        self.hosts.insert(port, new);
    }

    /// Lets the others forget a host.
    pub(super) fn forget(&mut self, port: u32) {
        let Some(gone) = self.hosts.remove(&port) else { return };
        for other in self.hosts.values_mut() {
            let _ = other.netlink.requests(gone.addresses.iter().copied().map(links::forget_neighbour).collect());
        }
    }
}

impl Neighbour {
    /// What others are told of it.
    fn entries(&self) -> Vec<netlink_packet_route::RouteNetlinkMessage> {
        self.addresses.iter().map(|address| links::neighbour(links::HOST_INDEX, *address, self.mac)).collect()
    }
}
