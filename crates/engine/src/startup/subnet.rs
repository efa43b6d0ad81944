//! Which addresses the network gets: ones that the machine does not use, and no other network of this user.
//!
//! With its subnet 10.77.N.0/24 goes a block of the machine's loopback, 127.77.N.0/24, in which each host has an address of
//! its own. Other subnets get the block that is called alike, or another one if a network has that already.

use std::fs::{self, File};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use minato_host::agent::Subnet;
use minato_host::routes::network_v4;
use minato_inspect::{Collision, Problem, ProblemKind};
use rustix::fs::{FlockOperation, flock};

use super::directory::is_locked;
use crate::FixedSubnet;
use crate::machine::Machine;
use crate::problem::{internal, problem, unwritable, with_fix};
use crate::subnet::FREE_PREFIX;

const PREFIX_V6: u8 = 64;
/// The file in which an engine notes its choice: gateway and prefix, and the first address of its loopback block.
const NOTE: &str = "subnet";

/// What a network is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub(crate) subnet: Subnet,
    /// First address of its /24 of the machine's loopback.
    pub(crate) loopback: Ipv4Addr,
}

/// What another network of this user has.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Taken {
    network: String,
    gateway: Ipv4Addr,
    prefix: u8,
    loopback: Ipv4Addr,
}

/// Chooses the first subnet that is free, or takes the `fixed` one, and notes it in `directory` for the engines of other
/// networks.
pub(crate) fn choose(directory: &Path, fixed: Option<FixedSubnet>) -> Result<Addresses, Problem> {
    let (_turn, taken) = turn(directory)?;
    // Better a network whose subnet may collide than none; it is compared again when it is there.
    let machine = Machine::look().unwrap_or_else(|error| {
        tracing::warn!(%error, "can't read the machine's addresses and routes");
        Machine::default()
    });
    let subnet = match fixed {
        Some(fixed) => take(fixed, &taken, &machine)?,
        None => first_free(&taken, &machine)?,
    };
    note(directory, subnet, &taken)
}

/// Chooses anew, for a network that runs: `None` if every subnet that is left collides as well.
pub(crate) fn choose_again(directory: &Path) -> Result<Option<Addresses>, Problem> {
    let (_turn, taken) = turn(directory)?;
    let machine = Machine::look().map_err(internal)?;
    unused(&taken, &machine).map(|subnet| note(directory, subnet, &taken)).transpose()
}

/// What other networks have, which stays so while the file is held: engines choose one after the other.
fn turn(directory: &Path) -> Result<(File, Vec<Taken>), Problem> {
    let parent = directory.parent().unwrap_or(directory);
    let turn = File::open(parent).map_err(internal)?;
    flock(&turn, FlockOperation::LockExclusive).map_err(internal)?;
    Ok((turn, taken_by_others(parent, directory)))
}

fn note(directory: &Path, subnet: Subnet, taken: &[Taken]) -> Result<Addresses, Problem> {
    let blocks: Vec<Ipv4Addr> = taken.iter().map(|other| other.loopback).collect();
    let loopback = loopback(subnet.gateway_v4, &blocks);
    let note = format!("{}/{} {loopback}", subnet.gateway_v4, subnet.prefix_v4);
    let file = directory.join(NOTE);
    fs::write(&file, note).map_err(|error| unwritable(&file, &error))?;
    Ok(Addresses { subnet, loopback })
}

/// The first candidate that neither another network nor the machine uses.
fn unused(taken: &[Taken], machine: &Machine) -> Option<Subnet> {
    let is_taken = |subnet: &Subnet| taken.iter().any(|other| other.overlaps(subnet));
    let is_used = |subnet: &Subnet| machine.collisions(relay_network(subnet)).next().is_some();
    candidates().find(|subnet| !is_taken(subnet) && !is_used(subnet))
}

/// The first candidate that nobody uses.
fn first_free(taken: &[Taken], machine: &Machine) -> Result<Subnet, Problem> {
    let is_taken = |subnet: &Subnet| taken.iter().any(|other| other.overlaps(subnet));
    // A machine whose routes cover every candidate (10.0.0.0/8 by a VPN and the like) loses sight of one /24 of them.
    let subnet = unused(taken, machine).or_else(|| candidates().find(|subnet| !is_taken(subnet)));
    subnet.ok_or_else(|| problem(ProblemKind::Exhausted, "all subnets are taken by other networks"))
}

/// The subnet that somebody wants, if nobody uses it.
fn take(fixed: FixedSubnet, taken: &[Taken], machine: &Machine) -> Result<Subnet, Problem> {
    let refuse = |why: String| {
        let title = format!("the network can't have the subnet {fixed}: {why}");
        with_fix(problem(ProblemKind::Conflict, title), "choose another subnet, or none for a free one")
    };
    let ranges = wanted(fixed);
    if let Some(other) = taken.iter().find(|other| other.overlaps(&ranges[0])) {
        return Err(refuse(format!("network {:?} has addresses of it", other.network)));
    }
    // Of the IPv6 prefixes any free one will do: nobody has asked for it.
    let in_v4 = |collision: &Collision| !collision.hidden.contains(':');
    if let Some(collision) = machine.collisions(relay_network(&ranges[0])).find(in_v4) {
        return Err(refuse(format!("the machine has {}", collision.what)));
    }
    let free = ranges.iter().find(|subnet| machine.collisions(relay_network(subnet)).next().is_none());
    Ok(*free.unwrap_or(&ranges[0]))
}

/// A network's addresses as the relay knows them.
pub(crate) fn relay_network(subnet: &Subnet) -> minato_relay::Network {
    let Subnet { gateway_v4, prefix_v4, gateway_v6, prefix_v6 } = *subnet;
    minato_relay::Network { gateway_v4, prefix_v4, gateway_v6, prefix_v6 }
}

/// The same for a kernel without IPv6: nothing has an address of that family.
pub(crate) fn without_ipv6(network: minato_relay::Network) -> minato_relay::Network {
    minato_relay::Network { gateway_v6: Ipv6Addr::UNSPECIFIED, prefix_v6: 128, ..network }
}

/// Whether hosts have IPv6.
pub(crate) fn has_ipv6(network: &minato_relay::Network) -> bool {
    !network.gateway_v6.is_unspecified()
}

/// A fixed subnet with the IPv6 prefixes that it could have: that of the candidate which is the same, or else ones that are
/// called after it.
fn wanted(fixed: FixedSubnet) -> Vec<Subnet> {
    let gateway_v4 = Ipv4Addr::from_bits(fixed.base().to_bits() + 1);
    let prefix_v4 = fixed.prefix();
    if let Some(same) = candidates().find(|subnet| (subnet.gateway_v4, subnet.prefix_v4) == (gateway_v4, prefix_v4)) {
        return vec![same];
    }
    let [a, b, c, d] = fixed.base().octets();
    let halves = [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])];
    let gateway = |first| Ipv6Addr::new(first, 0, halves[0], halves[1], 0, 0, 0, 1);
    let subnet = |first| Subnet { gateway_v4, prefix_v4, gateway_v6: gateway(first), prefix_v6: PREFIX_V6 };
    (0xfd77..=0xfd7f).map(subnet).collect()
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
        prefix_v4: FREE_PREFIX,
        gateway_v6: Ipv6Addr::new(0xfd77, 0, 0, base + u16::from(number), 0, 0, 0, 1),
        prefix_v6: PREFIX_V6,
    }
}

/// What this user's other networks have whose engines run.
fn taken_by_others(parent: &Path, own: &Path) -> Vec<Taken> {
    let directories = fs::read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.path());
    let others = directories.filter(|path| path != own && is_locked(path));
    others.filter_map(|path| noted(&path, &fs::read_to_string(path.join(NOTE)).ok()?)).collect()
}

/// What an engine has noted in its directory.
fn noted(directory: &Path, text: &str) -> Option<Taken> {
    let network = directory.file_name()?.to_string_lossy().into_owned();
    let (subnet, block) = text.trim().split_once(' ')?;
    let (gateway, prefix) = subnet.split_once('/')?;
    Some(Taken { network, gateway: gateway.parse().ok()?, prefix: prefix.parse().ok()?, loopback: block.parse().ok()? })
}

impl Taken {
    fn overlaps(&self, subnet: &Subnet) -> bool {
        let common = self.prefix.min(subnet.prefix_v4);
        network_v4(self.gateway, common) == network_v4(subnet.gateway_v4, common)
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
        // Two halves of one /24: the last bytes of their hosts are different, but a block has one owner.
        let half = [block("10.99.3.1", &[])];
        assert_eq!(block("10.99.3.129", &half), Ipv4Addr::new(127, 78, 0, 0));
    }

    #[test]
    fn a_note_names_subnet_and_block() {
        let taken = noted(Path::new("/run/user/1/minato/shop"), "10.99.3.65/26 127.80.3.0\n").unwrap();
        assert_eq!((taken.network.as_str(), taken.prefix), ("shop", 26));
        assert!(taken.overlaps(&wanted("10.99.0.0/16".parse().unwrap())[0]));
        assert!(!taken.overlaps(&wanted("10.99.3.0/26".parse().unwrap())[0]));
        for nonsense in ["10.77.3.1/24", "10.77.3.1 127.80.3.0", "10.77.3.1/24 there", ""] {
            assert_eq!(noted(Path::new("/shop"), nonsense), None, "{nonsense}");
        }
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

    #[test]
    fn a_fixed_subnet_has_a_prefix_of_its_own() {
        let first = |text: &str| wanted(text.parse().unwrap())[0];
        assert_eq!(first("10.77.5.0/24"), subnet(10, 77, 5, 0), "as if it had been chosen");
        assert_eq!(first("10.99.3.64/26").gateway_v6, "fd77:0:a63:340::1".parse::<Ipv6Addr>().unwrap());
        let candidates: Vec<Ipv6Addr> = candidates().map(|subnet| subnet.gateway_v6).collect();
        for other in ["10.77.0.0/23", "10.0.0.0/16", "192.168.0.0/16", "100.64.0.0/16"] {
            assert!(!candidates.contains(&first(other).gateway_v6), "{other}");
        }
    }
}
