//! The names that the network itself knows: `HOST.NET.internal`, `HOST` alone, `_SERVICE._tcp.HOST…`, and the names of its
//! addresses. No sockets and no time: what listens in a host is told by whoever asks.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use domain::base::Name;
use domain::base::iana::{Rcode, Rtype};
use minato_inspect::{Named, Offers};
use minato_ports::Transport;
use minato_relay::Network;

use super::message::{Answer, Authority, Data, DnsName};
use super::reverse::{self, Reverse};
use crate::startup::subnet::has_ipv6;

/// The top-level domain that is set aside for private use.
const TOP: &str = "internal";
/// The gateway's own name.
const GATEWAY: &str = "gateway";

/// The names of one network.
#[derive(Debug)]
pub(crate) struct Zone {
    /// `NET.internal`.
    domain: DnsName,
    label: String,
    network: Network,
    /// By name. The engine gives the names, so that the default hasher does.
    hosts: HashMap<String, Listed>,
    /// Other networks, by the serial numbers of the hosts that have joined them.
    joined: HashMap<u32, Vec<JoinedZone>>,
    /// Counts changes.
    serial: u32,
}

/// The names of another network, for a host that is in both.
#[derive(Clone, Debug)]
pub(crate) struct JoinedZone {
    /// The network's name.
    pub(crate) label: String,
    pub(crate) network: Network,
    pub(crate) hosts: BTreeMap<String, Named>,
}

/// A host that is there.
#[derive(Debug)]
struct Listed {
    host: u32,
    addresses: Vec<IpAddr>,
}

/// A name of ours.
#[derive(Debug)]
pub(super) struct Found {
    place: Place,
    /// The zone that it belongs to. A name without a domain is one by itself.
    zone: DnsName,
}

/// What is at a name.
#[derive(Debug)]
enum Place {
    /// The network.
    Apex,
    /// A host or the gateway.
    Host(Vec<IpAddr>),
    /// The services of a host that are registered under a name.
    Service(Wanted, Vec<IpAddr>, DnsName),
    /// An address of a host or the gateway, which have this name.
    Address(DnsName),
    /// Nothing, but there may be something below it (RFC 8020 §2).
    Empty,
    Missing,
}

/// What has to be known of a host to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) of: Offerer,
    /// The registered name.
    pub(super) service: String,
    pub(super) transport: Transport,
}

/// Whose ports are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Offerer {
    /// That of the host, or guest, with this serial number.
    Here(u32),
    /// That of a host of another network, whose engine has told them.
    Elsewhere(Offers),
}

impl Zone {
    /// The names of a network without hosts.
    pub(crate) fn new(name: &str, network: Network) -> Zone {
        let domain = domain_name(&[name, TOP]);
        Zone { domain, label: name.to_owned(), network, hosts: HashMap::new(), joined: HashMap::new(), serial: 1 }
    }

    /// The network has other addresses, and no host.
    pub(in crate::plane) fn renumber(&mut self, network: Network) {
        self.serial += 1;
        self.network = network;
    }

    /// The host answers from now on.
    pub(in crate::plane) fn add(&mut self, name: &str, host: u32, addresses: &[IpAddr]) {
        self.serial += 1;
        self.hosts.insert(name.to_owned(), Listed { host, addresses: addresses.to_vec() });
    }

    /// The host does not answer any more.
    pub(in crate::plane) fn remove(&mut self, name: &str, host: u32) {
        self.serial += 1;
        self.joined.remove(&host);
        // Another one may have the name by now.
        if self.hosts.get(name).is_some_and(|listed| listed.host == host) {
            self.hosts.remove(name);
        }
    }

    /// What a host knows of the other networks that it has joined.
    pub(in crate::plane) fn set_joined(&mut self, host: u32, zones: Vec<JoinedZone>) {
        if zones.is_empty() {
            self.joined.remove(&host);
        } else {
            self.joined.insert(host, zones);
        }
    }

    /// Whether any host has joined another network.
    pub(super) fn has_joined(&self) -> bool {
        !self.joined.is_empty()
    }

    /// What is at a name of another network that a host has joined.
    pub(super) fn find_joined(&self, host: u32, labels: &[&[u8]]) -> Option<Found> {
        let lower: Option<Vec<String>> =
            labels.iter().map(|label| std::str::from_utf8(label).ok().map(str::to_ascii_lowercase)).collect();
        let lower = lower?;
        let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
        self.joined.get(&host)?.iter().find_map(|zone| zone.find(&lower))
    }

    /// What is at the name with these labels; `None` if that is not for this network to say.
    pub(super) fn find(&self, labels: &[&[u8]]) -> Option<Found> {
        let lower: Option<Vec<String>> =
            labels.iter().map(|label| std::str::from_utf8(label).ok().map(str::to_ascii_lowercase)).collect();
        let Some(lower) = lower else { return self.find_foreign(labels) };
        let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
        match lower.as_slice() {
            [rest @ .., net, TOP] if *net == self.label => {
                Some(Found { place: self.place(rest), zone: self.domain.clone() })
            }
            [rest @ .., host] if self.hosts.contains_key(*host) && rest.iter().all(|label| label.starts_with('_')) => {
                Some(Found { place: self.place(&lower), zone: domain_name(&[host]) })
            }
            names => {
                let hosts = self.hosts.iter().map(|(name, listed)| (name, &listed.addresses));
                find_reverse(names, &self.network, &self.label, hosts)
            }
        }
    }

    /// A name with letters that no name of ours has is below ours or not.
    fn find_foreign(&self, labels: &[&[u8]]) -> Option<Found> {
        let [.., net, top] = labels else { return None };
        let own = net.eq_ignore_ascii_case(self.label.as_bytes()) && top.eq_ignore_ascii_case(TOP.as_bytes());
        own.then(|| Found { place: Place::Missing, zone: self.domain.clone() })
    }

    /// What is at a name below the network's.
    fn place(&self, labels: &[&str]) -> Place {
        let (service, host) = match labels {
            [] => return Place::Apex,
            [GATEWAY] => {
                return gateway(&self.network);
            }
            [service @ .., host] => (service, *host),
        };
        let Some(listed) = self.hosts.get(host) else { return Place::Missing };
        place_at(service, &listed.addresses, || Offerer::Here(listed.host), || self.full(host))
    }

    fn full(&self, host: &str) -> DnsName {
        domain_name(&[host, &self.label, TOP])
    }

    /// The answer to a question about a name of ours. `ports` are those that [`Found::wants`] asks for.
    pub(super) fn answer(&self, found: Found, kind: Rtype, ports: &[u16]) -> Answer {
        let Found { place, zone } = found;
        // RFC 8482: "any" may be answered with what there is.
        let asks = |other: Rtype| kind == other || kind == Rtype::ANY;
        let mut answer = Answer { authority: Some((zone, self.authority())), ..Answer::of(Rcode::NOERROR) };
        match place {
            Place::Apex => {
                answer.records.extend(asks(Rtype::SOA).then(|| Data::Start(self.authority())));
                answer.records.extend(asks(Rtype::NS).then(|| Data::Server(self.full(GATEWAY))));
            }
            Place::Host(addresses) => {
                let fits = |address: &IpAddr| asks(if address.is_ipv4() { Rtype::A } else { Rtype::AAAA });
                answer.records.extend(addresses.into_iter().filter(fits).map(Data::Address));
            }
            Place::Service(..) if ports.is_empty() => answer.rcode = Rcode::NXDOMAIN,
            Place::Service(_, addresses, target) if asks(Rtype::SRV) => {
                let service = |port: &u16| Data::Service { port: *port, target: target.clone() };
                answer.records.extend(ports.iter().map(service));
                answer.additional.extend(addresses.into_iter().map(|address| (target.clone(), address)));
            }
            Place::Address(name) if asks(Rtype::PTR) => answer.records.push(Data::Name(name)),
            Place::Service(..) | Place::Address(_) | Place::Empty => {}
            Place::Missing => answer.rcode = Rcode::NXDOMAIN,
        }
        answer
    }

    fn authority(&self) -> Authority {
        let contact = domain_name(&["hostmaster", &self.label, TOP]);
        Authority { server: self.full(GATEWAY), contact, serial: self.serial }
    }
}

impl JoinedZone {
    /// What is at a name in lower case, as in the network itself.
    fn find(&self, labels: &[&str]) -> Option<Found> {
        let own = |place| Some(Found { place, zone: domain_name(&[&self.label, TOP]) });
        match labels {
            [net, TOP] if *net == self.label => own(Place::Empty),
            [GATEWAY, net, TOP] if *net == self.label => own(gateway(&self.network)),
            [service @ .., host, net, TOP] if *net == self.label => own(self.place(service, host)),
            [service @ .., host]
                if self.hosts.contains_key(*host) && service.iter().all(|label| label.starts_with('_')) =>
            {
                Some(Found { place: self.place(service, host), zone: domain_name(&[host]) })
            }
            names => {
                let hosts = self.hosts.iter().map(|(name, named)| (name, &named.addresses));
                find_reverse(names, &self.network, &self.label, hosts)
            }
        }
    }

    fn place(&self, service: &[&str], host: &str) -> Place {
        let Some(Named { addresses, offers }) = self.hosts.get(host) else { return Place::Missing };
        let full = || domain_name(&[host, &self.label, TOP]);
        place_at(service, addresses, || Offerer::Elsewhere(offers.clone()), full)
    }
}

impl Found {
    /// The services whose ports decide what the answer is.
    pub(super) fn wants(&self) -> Option<Wanted> {
        match &self.place {
            Place::Service(wanted, ..) => Some(wanted.clone()),
            _ => None,
        }
    }
}

/// What is at the gateway's name.
fn gateway(network: &Network) -> Place {
    let v6 = has_ipv6(network).then_some(IpAddr::V6(network.gateway_v6));
    Place::Host(std::iter::once(network.gateway_v4.into()).chain(v6).collect())
}

/// What is at a host's name, or below it.
fn place_at(
    labels: &[&str],
    addresses: &[IpAddr],
    of: impl FnOnce() -> Offerer,
    full: impl FnOnce() -> DnsName,
) -> Place {
    match labels {
        [] => Place::Host(addresses.to_vec()),
        [protocol] if transport(protocol).is_some() => Place::Empty,
        [service, protocol] => match (service.strip_prefix('_'), transport(protocol)) {
            (Some(service), Some(transport)) => {
                let wanted = Wanted { of: of(), service: service.to_owned(), transport };
                Place::Service(wanted, addresses.to_vec(), full())
            }
            _ => Place::Missing,
        },
        _ => Place::Missing,
    }
}

/// What is at the name of an address of a network that is called `label` and has these hosts. `None` for other names.
fn find_reverse<'a>(
    labels: &[&str],
    network: &Network,
    label: &str,
    mut hosts: impl Iterator<Item = (&'a String, &'a Vec<IpAddr>)>,
) -> Option<Found> {
    let (address, zone) = reverse::find(labels, network)?;
    let place = match address {
        Reverse::Address(address) => {
            let gateway = network.is_gateway(address).then_some(GATEWAY);
            let host = || hosts.find(|(_, addresses)| addresses.contains(&address)).map(|(name, _)| name.as_str());
            let name = gateway.or_else(host);
            name.map_or(Place::Missing, |name| Place::Address(domain_name(&[name, label, TOP])))
        }
        Reverse::Above => Place::Empty,
        Reverse::Nothing => Place::Missing,
    };
    Some(Found { place, zone })
}

fn transport(label: &str) -> Option<Transport> {
    let name = label.strip_prefix('_')?;
    Transport::ALL.into_iter().find(|transport| transport.name() == name)
}

/// A name of labels that are known to be fit for it.
pub(super) fn domain_name(labels: &[&str]) -> DnsName {
    let text = format!("{}.", labels.join("."));
    Name::vec_from_str(&text).unwrap_or_else(|_| Name::root_vec())
}
