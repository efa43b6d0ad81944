//! What a flow that comes from a host of the network leads to.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

#[cfg(test)]
mod tests;

/// The port at the gateway address that answers names.
pub const DOMAIN: u16 = 53;

/// The addresses of a network: what belongs to it, and which one is the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The gateway's IPv4 address.
    pub gateway_v4: Ipv4Addr,
    /// Length of the IPv4 prefix, 0 to 32.
    pub prefix_v4: u8,
    /// The gateway's IPv6 address.
    pub gateway_v6: Ipv6Addr,
    /// Length of the IPv6 prefix, 0 to 128.
    pub prefix_v6: u8,
}

impl Network {
    /// Whether `address` is one of the network's subnet.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix_v4)).unwrap_or(0);
                (address.to_bits() ^ self.gateway_v4.to_bits()) & mask == 0
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix_v6)).unwrap_or(0);
                (address.to_bits() ^ self.gateway_v6.to_bits()) & mask == 0
            }
        }
    }

    /// Whether `address` is the gateway's own.
    pub fn is_gateway(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => address == self.gateway_v4,
            IpAddr::V6(address) => address == self.gateway_v6,
        }
    }

    /// The gateway's address in the family of `address`.
    pub fn gateway_like(&self, address: IpAddr) -> IpAddr {
        match address {
            IpAddr::V4(_) => IpAddr::V4(self.gateway_v4),
            IpAddr::V6(_) => IpAddr::V6(self.gateway_v6),
        }
    }

    /// Whether `address` is the subnet's directed broadcast address (RFC 919).
    fn is_broadcast(&self, address: IpAddr) -> bool {
        let IpAddr::V4(v4) = address else { return false };
        let suffix = u32::MAX.checked_shr(u32::from(self.prefix_v4)).unwrap_or(0);
        suffix != 0 && self.contains(address) && v4.to_bits() & suffix == suffix
    }
}

/// Where a flow leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// To this address, from the machine.
    Connect(SocketAddr),
    /// To one of the machine's resolvers.
    Resolver,
    /// Nowhere.
    Refuse(Refusal),
}

/// How a flow that leads nowhere is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// As a port that nothing is bound to: RST, or ICMP port unreachable.
    Closed,
    /// As an address that nobody has: ICMP host unreachable (IPv6: address unreachable).
    Unreachable,
    /// As something that may not be reached: ICMP administratively prohibited.
    Prohibited,
    /// Not at all, as the RFCs demand for addresses that are not one host's own.
    Silent,
}

/// The rules for flows that begin inside the network. For each flow the first of these that applies decides:
///
/// 1. The source is not an address of the network, or is its gateway: silent.
/// 2. The destination is not one host's address (unspecified, broadcast, multicast, reserved, an IPv4 address written
///    as IPv6, or one that a translator would make such an address of): silent.
/// 3. The gateway, port 53: the machine's resolvers.
/// 4. The gateway, a port that was opened to this source ([`Rules::open`]): the machine's loopback, same port.
/// 5. The gateway, any other port: closed.
/// 6. Another address of the network: unreachable, since the link would have delivered it if anybody had it.
/// 7. Loopback: prohibited.
/// 8. Link-local: unreachable, since the network is another link than the machine's.
/// 9. Anything else: connect, from the machine. The machine's own non-loopback addresses are among these.
#[derive(Clone, Debug)]
pub struct Rules {
    network: Network,
    /// Host address → ports of the machine's loopback opened to it. Keys are addresses that the engine gave out, so
    /// the default hasher does; the lookup by a peer's source address can't add any.
    opened: HashMap<IpAddr, HashSet<u16>>,
}

impl Rules {
    /// Rules for `network`, with no port of the machine's loopback open.
    pub fn new(network: Network) -> Rules {
        Rules { network, opened: HashMap::new() }
    }

    /// The network that these rules are for.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Opens `ports` of the machine's loopback, at the gateway address, to the host at `source`.
    pub fn open(&mut self, source: IpAddr, ports: impl IntoIterator<Item = u16>) {
        self.opened.entry(source).or_default().extend(ports);
    }

    /// Takes back everything that was opened to `source`.
    pub fn close(&mut self, source: IpAddr) {
        self.opened.remove(&source);
    }

    /// Where a TCP connection or a datagram from `source` to `destination` leads.
    pub fn target(&self, source: IpAddr, destination: SocketAddr) -> Target {
        let address = destination.ip();
        if let Some(refusal) = self.ill_addressed(source, address) {
            return Target::Refuse(refusal);
        }
        if self.network.is_gateway(address) {
            return self.at_gateway(source, destination);
        }
        self.beyond(address).map_or(Target::Connect(destination), Target::Refuse)
    }

    /// Where an ICMP echo request leads. Those to the gateway itself are answered by the stack.
    pub fn echo_target(&self, source: IpAddr, destination: IpAddr) -> Target {
        let refusal = self.ill_addressed(source, destination).or_else(|| self.beyond(destination));
        refusal.map_or(Target::Connect(SocketAddr::new(destination, 0)), Target::Refuse)
    }

    /// Whether a name may lead to `address`, for hosts that are bound to names: only to the world, and not to what a
    /// resolver should know nothing about (which is how "DNS rebinding" gets at it).
    pub fn may_be_named(&self, address: IpAddr) -> bool {
        is_one_hosts(address) && self.beyond(address).is_none() && !is_private(address)
    }

    /// Rules 1 and 2.
    fn ill_addressed(&self, source: IpAddr, destination: IpAddr) -> Option<Refusal> {
        let from_network = self.network.contains(source) && !self.network.is_gateway(source);
        let to_one_host = is_one_hosts(destination) && !self.network.is_broadcast(destination);
        (!from_network || !to_one_host).then_some(Refusal::Silent)
    }

    /// Rules 3 to 5.
    fn at_gateway(&self, source: IpAddr, destination: SocketAddr) -> Target {
        let port = destination.port();
        if port == DOMAIN {
            return Target::Resolver;
        }
        if !self.opened.get(&source).is_some_and(|ports| ports.contains(&port)) {
            return Target::Refuse(Refusal::Closed);
        }
        let loopback: IpAddr = if source.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
        Target::Connect((loopback, port).into())
    }

    /// Rules 6 to 8.
    fn beyond(&self, address: IpAddr) -> Option<Refusal> {
        let link_local = match address {
            IpAddr::V4(address) => address.is_link_local(),
            IpAddr::V6(address) => address.is_unicast_link_local(),
        };
        if self.network.contains(address) || link_local {
            Some(Refusal::Unreachable)
        } else {
            address.is_loopback().then_some(Refusal::Prohibited)
        }
    }
}

/// Whether `address` can be the address of one host somewhere.
fn is_one_hosts(address: IpAddr) -> bool {
    match address {
        // RFC 1122 §3.2.1.3: network 0 is only a source; class E has no use.
        IpAddr::V4(address) => address.octets()[0] != 0 && !address.is_multicast() && address.octets()[0] < 240,
        // RFC 4291 §2.5.5: IPv4 addresses written as IPv6 ones never travel; a socket would take them for IPv4,
        // and ::ffff:127.0.0.1 for the machine's loopback. `::a.b.c.d` covers `::`, but ::1 is told by a later rule.
        IpAddr::V6(address) => {
            let compatible = address.segments()[..6] == [0; 6] && address != Ipv6Addr::LOCALHOST;
            let embedded = embedded_v4(address).is_none_or(|v4| !v4.is_loopback() && is_one_hosts(v4.into()));
            !address.is_multicast() && address.to_ipv4_mapped().is_none() && !compatible && embedded
        }
    }
}

/// Whether `address` is one of a private network somewhere (RFC 1918, RFC 6598, RFC 2544, RFC 4193, RFC 3879, RFC 8215).
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            let (shared, benchmarks) = (a == 100 && b & 0xc0 == 64, a == 198 && b & 0xfe == 18);
            address.is_private() || shared || benchmarks || [a, b, c] == [192, 0, 0]
        }
        IpAddr::V6(address) => {
            let [first, second, third, ..] = address.segments();
            let (unique_local, site_local) = (first & 0xfe00 == 0xfc00, first & 0xffc0 == 0xfec0);
            let translated = embedded_v4(address).is_some_and(|v4| is_private(v4.into()) || v4.is_link_local());
            unique_local || site_local || translated || [first, second, third] == [0x64, 0xff9b, 1]
        }
    }
}

/// The IPv4 address that a packet to `address` ends at: behind a translator (RFC 6052 §2.1, which in §3.1 forbids
/// loopback and the like there too) or a 6to4 router (RFC 3056 §2).
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        _ => None,
    }
}
