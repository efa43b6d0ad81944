//! Which services a host has, and at which address each can be reached.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use minato_ports::Transport;

/// A bound port of a host that takes connections or datagrams from anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Listener {
    /// TCP or UDP.
    pub transport: Transport,
    /// The address it is bound to; unspecified for every address of the family.
    pub address: IpAddr,
    /// The port it is bound to.
    pub port: u16,
    /// Whether an IPv6 wildcard leaves IPv4 alone (`IPV6_V6ONLY`).
    pub v6_only: bool,
}

/// How a service is reached in one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// At the host's own address.
    Own,
    /// Only from inside the host, at this loopback address.
    Loopback(IpAddr),
}

impl Listener {
    /// How this listener is reached by clients of IPv4 (or IPv6) in a host that has the addresses `own`.
    fn reach(&self, v4: bool, own: &[IpAddr]) -> Option<Reach> {
        let address = self.address.to_canonical();
        match address {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) if v4 && !self.v6_only => Some(Reach::Own),
            _ if address.is_ipv4() != v4 => None,
            _ if address.is_unspecified() || own.contains(&address) => Some(Reach::Own),
            _ if address.is_loopback() => Some(Reach::Loopback(address)),
            _ => None,
        }
    }
}

/// The services of one host, as a dump of its sockets tells them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Services {
    /// Keyed by what a forward asks for. Only a host's own programs add to it, at one socket each.
    listeners: HashMap<(Transport, u16), Vec<Listener>>,
}

impl Services {
    /// The services of a host in which exactly these sockets listen.
    pub fn new(listeners: impl IntoIterator<Item = Listener>) -> Services {
        let mut services = Services::default();
        for listener in listeners {
            services.listeners.entry((listener.transport, listener.port)).or_default().push(listener);
        }
        for same_port in services.listeners.values_mut() {
            same_port.sort_by_key(|listener| (listener.address, listener.v6_only));
        }
        services
    }

    /// A socket listens that did not before. `false`: one was there that is bound alike.
    pub fn add(&mut self, listener: Listener) -> bool {
        let same_port = self.listeners.entry((listener.transport, listener.port)).or_default();
        let is_new = !same_port.contains(&listener);
        if is_new {
            same_port.push(listener);
            same_port.sort_by_key(|listener| (listener.address, listener.v6_only));
        }
        is_new
    }

    /// Whether a socket that is bound like this was among them. Several may be (`SO_REUSEPORT`), so that the end of one
    /// does not tell that the service has ended.
    pub fn includes(&self, listener: &Listener) -> bool {
        let same_port = self.listeners.get(&(listener.transport, listener.port));
        same_port.is_some_and(|same_port| same_port.iter().any(|other| other.address == listener.address))
    }

    /// How the service at `port` is reached by clients of one family, in a host that has the addresses `own`. A
    /// listener at the host's own address is preferred to one at loopback, which only the machine's help reaches.
    pub fn reach(&self, transport: Transport, port: u16, v4: bool, own: &[IpAddr]) -> Option<Reach> {
        let same_port = self.listeners.get(&(transport, port))?;
        let mut reaches = same_port.iter().filter_map(|listener| listener.reach(v4, own));
        let first = reaches.next()?;
        Some(if first == Reach::Own { first } else { reaches.find(|reach| *reach == Reach::Own).unwrap_or(first) })
    }

    /// Every port at which clients of some family reach a service, in a host that has the addresses `own`.
    pub fn reachable(&self, own: &[IpAddr]) -> impl Iterator<Item = (Transport, u16)> {
        let is_reached = |listener: &Listener| [true, false].iter().any(|v4| listener.reach(*v4, own).is_some());
        let reached = move |(end, same_port): (&(Transport, u16), &Vec<Listener>)| {
            same_port.iter().any(is_reached).then_some(*end)
        };
        self.listeners.iter().filter_map(reached)
    }

    /// The ports at which others reach a service, in a host that has the addresses `own`.
    pub fn offered(&self, transport: Transport, own: &[IpAddr]) -> BTreeSet<u16> {
        let ports = self.listeners.keys().filter(|(of, _)| *of == transport).map(|(_, port)| *port);
        let offers =
            |port: &u16| [true, false].iter().any(|v4| self.reach(transport, *port, *v4, own) == Some(Reach::Own));
        ports.filter(offers).collect()
    }

    /// The address at which clients of one family reach a service that is reached like this.
    pub fn address(reach: Reach, v4: bool, own: &[IpAddr]) -> IpAddr {
        let unspecified: IpAddr = if v4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        match reach {
            Reach::Loopback(address) => address,
            Reach::Own => own.iter().copied().find(|address| address.is_ipv4() == v4).unwrap_or(unspecified),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(address: &str, v6_only: bool) -> Listener {
        Listener { transport: Transport::Tcp, address: address.parse().unwrap(), port: 80, v6_only }
    }

    fn reach(listeners: &[Listener], v4: bool) -> Option<Reach> {
        let own = ["10.77.0.2".parse().unwrap(), "fd77::2".parse().unwrap()];
        Services::new(listeners.iter().copied()).reach(Transport::Tcp, 80, v4, &own)
    }

    #[test]
    fn each_bind_is_reached_where_the_kernel_would_take_it() {
        let loopback = |address: &str| Some(Reach::Loopback(address.parse().unwrap()));
        let table = [
            ("0.0.0.0", false, Some(Reach::Own), None),
            ("::", false, Some(Reach::Own), Some(Reach::Own)),
            ("::", true, None, Some(Reach::Own)),
            ("10.77.0.2", false, Some(Reach::Own), None),
            ("::ffff:10.77.0.2", false, Some(Reach::Own), None),
            ("fd77::2", false, None, Some(Reach::Own)),
            ("127.0.0.1", false, loopback("127.0.0.1"), None),
            ("127.3.0.1", false, loopback("127.3.0.1"), None),
            ("::1", false, None, loopback("::1")),
            ("10.99.0.1", false, None, None),
        ];
        for (address, v6_only, by_v4, by_v6) in table {
            let listeners = [listener(address, v6_only)];
            assert_eq!((reach(&listeners, true), reach(&listeners, false)), (by_v4, by_v6), "bound to {address}");
        }
    }

    #[test]
    fn who_has_begun_to_listen_is_as_if_it_had_been_found() {
        let found = Services::new([listener("0.0.0.0", false), listener("10.77.0.2", false), listener("::", true)]);
        let mut told = Services::new([listener("10.77.0.2", false)]);
        assert!(told.add(listener("::", true)) && told.add(listener("0.0.0.0", false)));
        assert!(!told.add(listener("0.0.0.0", false)), "it is known");
        assert_eq!(told, found);
    }

    #[test]
    fn the_own_address_is_preferred_to_loopback() {
        let both = [listener("127.0.0.1", false), listener("10.77.0.2", false)];
        assert_eq!(reach(&both, true), Some(Reach::Own));
        assert_eq!(reach(&[both[1], both[0]], true), Some(Reach::Own));
    }

    #[test]
    fn what_nobody_outside_could_reach_is_not_listed() {
        let own = ["10.77.0.2".parse().unwrap(), "fd77::2".parse().unwrap()];
        let elsewhere = Listener { port: 81, ..listener("10.99.0.1", false) };
        let services = Services::new([listener("127.0.0.1", false), listener("::1", false), elsewhere]);
        assert_eq!(services.reachable(&own).collect::<Vec<_>>(), [(Transport::Tcp, 80)]);
    }

    #[test]
    fn what_only_the_host_itself_reaches_is_not_offered() {
        let own = ["10.77.0.2".parse().unwrap()];
        let at = |address, port, transport| Listener { port, transport, ..listener(address, false) };
        let (tcp, udp) = (Transport::Tcp, Transport::Udp);
        let services = Services::new([
            at("::", 443, tcp),
            at("127.0.0.1", 80, tcp),
            at("10.77.0.2", 25, tcp),
            at("0.0.0.0", 53, udp),
        ]);
        assert_eq!(services.offered(tcp, &own), [25, 443].into());
        assert_eq!(services.offered(udp, &own), [53].into());
    }

    #[test]
    fn a_listener_is_known_by_where_it_is_bound() {
        let services = Services::new([listener("0.0.0.0", false)]);
        assert!(services.includes(&listener("0.0.0.0", true)));
        assert!(!services.includes(&listener("10.77.0.2", false)));
        assert!(!services.includes(&Listener { port: 81, ..listener("0.0.0.0", false) }));
        assert!(!services.includes(&Listener { transport: Transport::Udp, ..listener("0.0.0.0", false) }));
    }
}
