//! Which addresses the network gets: ones that the machine does not use, and no other network of this user.

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
/// The file in which an engine notes its choice.
const NOTE: &str = "subnet";

/// Chooses the first subnet that is free, and notes it in `directory` for the engines of other networks.
pub(crate) fn choose(directory: &Path) -> io::Result<Subnet> {
    let parent = directory.parent().unwrap_or(directory);
    // Engines that start at once choose one after the other.
    let turn = File::open(parent)?;
    flock(&turn, FlockOperation::LockExclusive)?;
    let taken = taken_by_others(parent, directory);
    let machine = Machine::look();
    let subnet = candidates().find(|subnet| !taken.contains(&subnet.gateway_v4) && !machine.uses(subnet));
    // A machine whose routes cover every candidate (10.0.0.0/8 by a VPN and the like) loses sight of one /24 of them.
    let subnet = subnet.or_else(|| candidates().find(|subnet| !taken.contains(&subnet.gateway_v4)));
    let subnet = subnet.ok_or_else(|| io::Error::other("all subnets are taken by other networks"))?;
    fs::write(directory.join(NOTE), subnet.gateway_v4.to_string())?;
    Ok(subnet)
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

/// The gateways of this user's other networks whose engines run.
fn taken_by_others(parent: &Path, own: &Path) -> Vec<Ipv4Addr> {
    let directories = fs::read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.path());
    let others = directories.filter(|path| path != own && is_locked(path));
    others.filter_map(|path| fs::read_to_string(path.join(NOTE)).ok()?.trim().parse().ok()).collect()
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
    fn candidates_are_apart_in_both_families() {
        let all: Vec<Subnet> = candidates().collect();
        assert_eq!(all[0].gateway_v4, Ipv4Addr::new(10, 77, 0, 1));
        assert_eq!(all[0].gateway_v6, "fd77::1".parse::<Ipv6Addr>().unwrap());
        let v4: std::collections::HashSet<_> = all.iter().map(|subnet| subnet.gateway_v4).collect();
        let v6: std::collections::HashSet<_> = all.iter().map(|subnet| subnet.gateway_v6).collect();
        assert_eq!((v4.len(), v6.len()), (all.len(), all.len()));
    }
}
