//! Which addresses the network gets: ones that the machine does not use, and no other network of this user.
//!
//! With its subnet 10.77.N.0/24 goes a block of the machine's loopback, 127.77.N.0/24, in which each host has an address of
//! its own. Other subnets get the block that is called alike, or another one if a network has that already.

use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use minato_host::agent::Subnet;
use minato_host::routes;
use rustix::fs::{FlockOperation, flock};

use super::directory::is_locked;

const PREFIX_V4: u8 = 24;
const PREFIX_V6: u8 = 64;
/// The file in which an engine notes its choice: the gateway's address, and the first one of its loopback block.
const NOTE: &str = "subnet";

/// What a network is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub(crate) subnet: Subnet,
    /// First address of its /24 of the machine's loopback.
    pub(crate) loopback: Ipv4Addr,
}

/// Chooses the first subnet that is free, and notes it in `directory` for the engines of other networks.
pub(crate) fn choose(directory: &Path) -> io::Result<Addresses> {
    let parent = directory.parent().unwrap_or(directory);
    // Engines that start at once choose one after the other.
    let turn = File::open(parent)?;
    flock(&turn, FlockOperation::LockExclusive)?;
    let taken = taken_by_others(parent, directory);
    let is_taken = |subnet: &Subnet| taken.iter().any(|(gateway, _)| *gateway == subnet.gateway_v4);
    let machine = Machine::look();
    let subnet = candidates().find(|subnet| !is_taken(subnet) && !machine.uses(subnet));
    // A machine whose routes cover every candidate (10.0.0.0/8 by a VPN and the like) loses sight of one /24 of them.
    let subnet = subnet.or_else(|| candidates().find(|subnet| !is_taken(subnet)));
    let subnet = subnet.ok_or_else(|| io::Error::other("all subnets are taken by other networks"))?;
    let blocks: Vec<Ipv4Addr> = taken.iter().map(|(_, block)| *block).collect();
    let loopback = loopback(subnet.gateway_v4, &blocks);
    fs::write(directory.join(NOTE), format!("{} {loopback}", subnet.gateway_v4))?;
    Ok(Addresses { subnet, loopback })
}

/// The block 127.77.N.0 for 10.77.N.1, unless it is among the `taken` ones, or is the one in which the machine has its own
/// loopback services.
fn loopback(gateway: Ipv4Addr, taken: &[Ipv4Addr]) -> Ipv4Addr {
    let [_, second, third, _] = gateway.octets();
    let block = |second, third| Ipv4Addr::new(127, second, third, 0);
    let others = (78..=254).flat_map(|second| (0..=255).map(move |third| block(second, third)));
    let is_free = |block: &Ipv4Addr| block.octets()[1] != 0 && !taken.contains(block);
    // There are more blocks than networks that a user could have.
    std::iter::once(block(second, third)).chain(others).find(is_free).unwrap_or(block(255, 0))
}

/// 10.77.N.0/24, and after those the same of other private ranges, in order of preference.
fn candidates() -> impl Iterator<Item = Subnet> {
    let ranges = [(10, 77, 0u16), (172, 29, 256), (192, 168, 512)];
    ranges.into_iter().flat_map(|(a, b, base)| (0..=255u8).map(move |number| subnet(a, b, number, base)))
}

fn subnet(a: u8, b: u8, number: u8, base: u16) -> Subnet {
    Subnet {
        gateway_v4: Ipv4Addr::new(a, b, number, 1),
        prefix_v4: PREFIX_V4,
        gateway_v6: Ipv6Addr::new(0xfd77, 0, 0, base + u16::from(number), 0, 0, 0, 1),
        prefix_v6: PREFIX_V6,
    }
}

/// The gateways and loopback blocks of this user's other networks whose engines run.
fn taken_by_others(parent: &Path, own: &Path) -> Vec<(Ipv4Addr, Ipv4Addr)> {
    let directories = fs::read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.path());
    let others = directories.filter(|path| path != own && is_locked(path));
    others.filter_map(|path| noted(&fs::read_to_string(path.join(NOTE)).ok()?)).collect()
}

/// What an engine has noted. One of before there were loopback blocks has no second word; its block is that of its gateway.
fn noted(text: &str) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let mut words = text.split_whitespace();
    let gateway = words.next()?.parse().ok()?;
    let block = words.next().map_or_else(|| Ok(loopback(gateway, &[])), str::parse);
    Some((gateway, block.ok()?))
}

/// The machine's own addresses and routes.
struct Machine {
    addresses: Vec<routes::InterfaceAddress>,
    routes: Vec<routes::Route>,
}

impl Machine {
    fn look() -> Machine {
        let warn = |error: &io::Error| tracing::warn!(%error, "can't read the machine's addresses and routes");
        Machine {
            addresses: routes::addresses().inspect_err(warn).unwrap_or_default(),
            routes: routes::routes().inspect_err(warn).unwrap_or_default(),
        }
    }

    fn uses(&self, subnet: &Subnet) -> bool {
        let (v4, v6): (IpAddr, IpAddr) = (subnet.gateway_v4.into(), subnet.gateway_v6.into());
        let network = minato_relay::Network {
            gateway_v4: subnet.gateway_v4,
            prefix_v4: subnet.prefix_v4,
            gateway_v6: subnet.gateway_v6,
            prefix_v6: subnet.prefix_v6,
        };
        let overlaps = |route: &routes::Route| {
            route.prefix > 0 && (route.overlaps(v4, subnet.prefix_v4) || route.overlaps(v6, subnet.prefix_v6))
        };
        self.addresses.iter().any(|own| network.contains(own.address)) || self.routes.iter().any(overlaps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_blocks_are_called_like_their_subnets_and_apart() {
        let block = |gateway: &str, taken: &[Ipv4Addr]| loopback(gateway.parse().unwrap(), taken);
        assert_eq!(block("10.77.3.1", &[]), Ipv4Addr::new(127, 77, 3, 0));
        assert_eq!(block("192.168.9.1", &[]), Ipv4Addr::new(127, 168, 9, 0));
        let taken = [Ipv4Addr::new(127, 29, 0, 0), Ipv4Addr::new(127, 78, 0, 0)];
        assert_eq!(block("10.29.0.1", &taken), Ipv4Addr::new(127, 78, 1, 0));
        assert_eq!(block("10.0.0.1", &[]), Ipv4Addr::new(127, 78, 0, 0), "127.0.0.0/24 is the machine's");
    }

    #[test]
    fn a_note_names_gateway_and_block_or_only_the_gateway() {
        let (gateway, block) = ("10.77.3.1".parse().unwrap(), |text: &str| text.parse().unwrap());
        assert_eq!(noted("10.77.3.1 127.80.3.0\n"), Some((gateway, block("127.80.3.0"))));
        assert_eq!(noted("10.77.3.1\n"), Some((gateway, block("127.77.3.0"))));
        assert_eq!(noted("10.77.3.1 there"), None);
        assert_eq!(noted(""), None);
    }

    #[test]
    fn candidates_are_apart_in_both_families() {
        let all: Vec<Subnet> = candidates().collect();
        assert_eq!(all[0].gateway_v4, Ipv4Addr::new(10, 77, 0, 1));
        assert_eq!(all[0].gateway_v6, "fd77::1".parse::<Ipv6Addr>().unwrap());
        let v4: std::collections::HashSet<_> = all.iter().map(|subnet| subnet.gateway_v4).collect();
        let v6: std::collections::HashSet<_> = all.iter().map(|subnet| subnet.gateway_v6).collect();
        assert_eq!((v4.len(), v6.len()), (all.len(), all.len()));
    }
}
