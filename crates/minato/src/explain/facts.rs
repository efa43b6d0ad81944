//! What is so: asked of the engine, the kernel, the resolver and the network, without drawing conclusions.

mod guests;
mod networks;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use minato_engine::unheld;
use minato_inspect::{EgressVerdict, Forward, Host, PortRow};
use minato_ports::Transport;

pub(super) use self::guests::at_home;
pub(super) use self::networks::Network;
use super::firewall::{self, Firewall};
use super::probe::{Outcome, Resolved, attempt, attempt_from, look_up, resolve_from};
use super::target::{Place, Target};
use super::tls;
use crate::client::{Client, RequestError};
use crate::failure::Failure;
use crate::flags::Name;
use crate::machine;

/// As which host hosts know their network's gateway.
pub(super) const GATEWAY: &str = "gateway";

/// Everything that a diagnosis may build on.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// What the target means.
    pub(super) subject: Subject,
    /// The host from inside of which, if not from this machine.
    pub(super) from: Option<String>,
    /// The name of the network that is asked.
    pub(super) network_name: Name,
    /// The same for command lines.
    pub(super) network_flag: String,
    /// What its engine knows; `None` when none runs.
    pub(super) network: Option<Network>,
    /// The user's other networks that run.
    pub(super) others: Vec<Network>,
    /// This machine's sockets on the target's port, of both transports; or why they can't be seen.
    pub(super) machine: Result<Vec<PortRow>, String>,
    /// Connections that were tried.
    pub(super) trials: Vec<Trial>,
    /// What the policy of the host from inside of which says about the target: its name, if it has one, and its addresses.
    pub(super) verdicts: Vec<EgressVerdict>,
    /// Whether TLS is spoken at the target, if it was asked for and a name at the proxy says where; `None` as well when
    /// nobody answered.
    pub(super) tls: Option<bool>,
    /// The lowest port of this machine that the user may bind.
    pub(super) first_bindable: u16,
    /// Who asks.
    pub(super) user: u32,
    /// Whether that is root.
    pub(super) is_root: bool,
    /// Processes that hold sockets and are stopped.
    pub(super) stopped: Vec<u32>,
    /// A port above the target's that a forward could have, if the target's is taken.
    pub(super) next_free: Option<u16>,
    /// Firewalls that may stop the connections.
    pub(super) firewalls: Vec<Firewall>,
}

impl Facts {
    /// A port of this machine that the user may bind: this one if it is such, else one to be used instead.
    pub(super) fn bindable(&self, port: u16) -> u16 {
        if port < self.first_bindable { unheld::unprivileged(port, self.first_bindable) } else { port }
    }
}

/// What a target means.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Subject {
    /// This machine's own address or addresses.
    Machine(Vec<IpAddr>),
    /// A minato host, at one of its addresses or at any.
    Host(String, Option<IpAddr>),
    /// The loopback of the host from inside of which.
    Within(String, Vec<IpAddr>),
    /// The network's gateway, at these addresses.
    Gateway(Vec<IpAddr>),
    /// Addresses that are neither.
    Elsewhere(Vec<IpAddr>),
    /// A name that leads nowhere, and why.
    Unresolved(String),
}

/// A connection that was tried.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    /// The host from inside of which, if not from this machine.
    pub(super) from: Option<String>,
    pub(super) destination: SocketAddr,
    pub(super) outcome: Outcome,
}

/// Gathers the facts about a target, as seen from this machine or from inside a host.
pub(super) async fn gather(target: &Target, from: Option<&Name>, client: &Client) -> Result<Facts, Failure> {
    let mut network = Network::of(client).await.map_err(|error| error.into_failure(client))?;
    let mut others = Network::beside(client).await;
    let own = client.directory().network();
    let meant = networks::meant(target, own, network.as_ref(), &others).filter(|_| from.is_none());
    if let Some(name) = &meant {
        networks::turn_to(name, &mut network, &mut others);
    }
    let of_meant = meant.map(|name| Client::new(client.directory().sibling(name))).transpose()?;
    let client = of_meant.as_ref().unwrap_or(client);
    let from = from.map(Name::as_str);
    if let Some(network) = &mut network {
        guests::complete(network, from, &others);
    }
    let inside = from.map(|from| at_home(from, network.as_ref(), client)).transpose()?.flatten();
    let inside = inside.as_ref().unwrap_or(client);
    let subject = match (subject(target, from, network.as_ref()), from) {
        (Some(subject), _) => subject,
        // Each host has resolvers of its own, which may say something else or nothing.
        (None, Some(host)) => {
            resolved(resolve_from(host, target.name().unwrap_or_default(), inside).await?, from, network.as_ref())
        }
        (None, None) => resolved_here(target.name().unwrap_or_default(), network.as_ref()),
    };
    let verdicts = verdicts(target, &subject, from, inside).await.map_err(|error| error.into_failure(client))?;
    let machine = machine::ports().map_err(|error| error.to_string()).map(|mut rows| {
        rows.retain(|row| row.port == target.port && !is_own_of_host(row, target, network.as_ref(), &others));
        rows
    });
    let trials = try_all(target, &subject, from, network.as_ref(), client).await?;
    let firewalls = firewall::look(target, &subject, network.as_ref(), &trials, client).await?;
    let services = network.iter().flat_map(|network| &network.services);
    let processes = services.chain(machine.iter().flatten()).flat_map(|row| &row.processes);
    let stopped = processes.map(|process| process.pid).filter(|pid| minato_host::process::is_stopped(*pid)).collect();
    let is_held = machine.as_ref().is_ok_and(|rows| !rows.is_empty());
    Ok(Facts {
        next_free: if is_held { next_free(target.port, target.transport) } else { None },
        firewalls,
        tls: if from.is_none() { tls(target, &subject) } else { None },
        user: rustix::process::geteuid().as_raw(),
        is_root: rustix::process::geteuid().is_root(),
        first_bindable: first_bindable(),
        subject,
        from: from.map(str::to_owned),
        network_name: client.directory().network().clone(),
        network_flag: crate::client::network_flag(client.directory()),
        network,
        others,
        machine,
        trials,
        verdicts,
        stopped,
    })
}

/// Whether a socket is what holds a port at a host's own loopback address: that is among the forwards, and leads nowhere
/// else. What another network has there counts only when it is asked for.
fn is_own_of_host(row: &PortRow, target: &Target, network: Option<&Network>, others: &[Network]) -> bool {
    let holds = |forward: &Forward| forward.automatic && is_held_for(row, forward);
    let is_target = row.addresses.iter().any(|address| target.place == Place::Address(*address));
    network.is_some_and(|network| network.forwards.iter().any(holds))
        || (!is_target && others.iter().flat_map(|other| &other.forwards).any(holds))
}

/// Whether a socket of this machine is the one that holds a forward's port.
pub(super) fn is_held_for(row: &PortRow, forward: &Forward) -> bool {
    (forward.host_port, forward.transport) == (row.port, row.transport) && row.addresses.contains(&forward.address)
}

/// What a target means; `None` for a name that has to be resolved.
fn subject(target: &Target, from: Option<&str>, network: Option<&Network>) -> Option<Subject> {
    let host_with = |test: &dyn Fn(&Host) -> bool| {
        network.and_then(|network| network.hosts.iter().find(|host| test(host))).map(|host| host.name.clone())
    };
    // Inside a host, "here" is that host.
    let here = |addresses| match from {
        Some(host) => Subject::Within(host.to_owned(), addresses),
        None => Subject::Machine(addresses),
    };
    let lacks_v6 = |name: &str| host_with(&|host| host.name == name && host.address_v6.is_none()).is_some();
    let both = || match from {
        Some(host) => loopback_of(!lacks_v6(host)),
        None => loopback(),
    };
    Some(match &target.place {
        _ if target.is_localhost() => here(both()),
        Place::Address(address) if address.is_loopback() => here(vec![*address]),
        Place::Address(address) => match host_with(&|host| host.addresses().any(|own| own == *address)) {
            Some(host) => Subject::Host(host, Some(*address)),
            None if is_gateway(*address, network) => Subject::Gateway(vec![*address]),
            None if is_own(*address) => Subject::Machine(vec![*address]),
            None => Subject::Elsewhere(vec![*address]),
        },
        Place::Machine | Place::Name(_) => {
            return match target.internal() {
                Some((host, of)) if network.is_some_and(|network| network.name == of) => {
                    Some(Subject::Host(host.to_string(), None))
                }
                _ => host_with(&|host| Some(host.name.as_str()) == target.name()).map(|host| Subject::Host(host, None)),
            };
        }
    })
}

/// The loopback addresses that this machine has.
fn loopback() -> Vec<IpAddr> {
    loopback_of(UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok())
}

fn loopback_of(has_v6: bool) -> Vec<IpAddr> {
    let v6 = has_v6.then_some(IpAddr::V6(Ipv6Addr::LOCALHOST));
    [IpAddr::V4(Ipv4Addr::LOCALHOST)].into_iter().chain(v6).collect()
}

fn is_gateway(address: IpAddr, network: Option<&Network>) -> bool {
    network.is_some_and(|network| network.gateway.contains(&address))
}

/// Whether a socket that is bound to these addresses takes what is sent to that one.
pub(super) fn covers(bound: &[IpAddr], address: IpAddr) -> bool {
    bound.iter().any(|bound| *bound == address || (bound.is_unspecified() && bound.is_ipv4() == address.is_ipv4()))
}

pub(super) fn is_own(address: IpAddr) -> bool {
    let own = || minato_host::routes::addresses().unwrap_or_default();
    address.is_loopback() || own().iter().any(|interface| interface.address == address)
}

/// What a name means that the resolver knows: the same as its addresses would.
pub(super) fn resolved(outcome: Resolved, from: Option<&str>, network: Option<&Network>) -> Subject {
    let addresses = match outcome {
        Ok(addresses) => addresses,
        Err(reason) => return Subject::Unresolved(reason),
    };
    if addresses.iter().any(|address| is_gateway(*address, network)) {
        return Subject::Gateway(addresses);
    }
    let has_all = |host: &&Host| addresses.iter().all(|address| host.addresses().any(|own| own == *address));
    if let Some(host) = network.and_then(|network| network.hosts.iter().find(has_all)) {
        return Subject::Host(host.name.clone(), <[IpAddr; 1]>::try_from(addresses).ok().map(|[only]| only));
    }
    match from {
        Some(host) if addresses.iter().all(IpAddr::is_loopback) => Subject::Within(host.to_owned(), addresses),
        // What is loopback is the host's there, and the rest is not.
        Some(_) if addresses.iter().any(IpAddr::is_loopback) => Subject::Elsewhere(addresses),
        _ if addresses.iter().all(|address| is_own(*address)) => Subject::Machine(addresses),
        _ => Subject::Elsewhere(addresses),
    }
}

/// What a name means on this machine.
fn resolved_here(name: &str, network: Option<&Network>) -> Subject {
    match (resolved(look_up(name), None, network), network) {
        // Only hosts know it, unless the machine knows one that is called so.
        (Subject::Unresolved(_), Some(network)) if name == GATEWAY => Subject::Gateway(network.gateway.clone()),
        (subject, _) => subject,
    }
}

/// What the policy of a host says about a target beyond its network.
async fn verdicts(
    target: &Target,
    subject: &Subject,
    from: Option<&str>,
    client: &Client,
) -> Result<Vec<EgressVerdict>, RequestError> {
    let addresses: &[IpAddr] = match subject {
        Subject::Machine(addresses) | Subject::Elsewhere(addresses) => addresses,
        Subject::Unresolved(_) => &[],
        // No policy is asked for these.
        Subject::Host(..) | Subject::Within(..) | Subject::Gateway(_) => return Ok(Vec::new()),
    };
    let Some(host) = from else { return Ok(Vec::new()) };
    let places = target.name().map(str::to_owned).into_iter().chain(addresses.iter().map(ToString::to_string));
    let mut verdicts = Vec::new();
    for place in places {
        verdicts.push(client.egress(host, &place, target.port, target.transport).await?);
    }
    Ok(verdicts)
}

/// Tries the target's addresses: those of a host from inside the network, others from this machine unless told otherwise.
async fn try_all(
    target: &Target,
    subject: &Subject,
    from: Option<&str>,
    network: Option<&Network>,
    client: &Client,
) -> Result<Vec<Trial>, Failure> {
    let host = match subject {
        Subject::Host(name, _) => network.and_then(|network| network.hosts.iter().find(|host| host.name == *name)),
        _ => None,
    };
    let addresses = match subject {
        Subject::Machine(addresses) | Subject::Within(_, addresses) | Subject::Elsewhere(addresses) => {
            addresses.clone()
        }
        // It may be somebody else's beyond the network.
        Subject::Gateway(addresses) => from.map(|_| addresses.clone()).unwrap_or_default(),
        Subject::Host(_, Some(address)) => vec![*address],
        Subject::Host(_, None) => host.map(|host| host.addresses().collect()).unwrap_or_default(),
        Subject::Unresolved(_) => Vec::new(),
    };
    // Only what is in the network can reach a host's address; the host itself is always there.
    let from = from.or_else(|| host.map(|host| host.name.as_str()));
    let inside = from.map(|from| at_home(from, network, client)).transpose()?.flatten();
    let inside = inside.as_ref().unwrap_or(client);
    let mut trials = Vec::new();
    for address in addresses {
        let destination = SocketAddr::new(address, target.port);
        let outcome = match from {
            Some(host) => attempt_from(host, destination, target.transport, inside).await?,
            None => attempt(destination, target.transport),
        };
        trials.push(Trial { from: from.map(str::to_owned), destination, outcome });
    }
    Ok(trials)
}

/// Whether TLS is spoken to a name at the proxy that wants it.
fn tls(target: &Target, subject: &Subject) -> Option<bool> {
    let Subject::Machine(addresses) = subject else { return None };
    target.proxied().filter(|_| target.secure)?;
    addresses.iter().find_map(|address| tls::is_spoken(SocketAddr::new(*address, target.port), target.name()?))
}

/// The next port that is free on the loopback addresses.
fn next_free(port: u16, transport: Transport) -> Option<u16> {
    let addresses = loopback();
    let free = |port: &u16| {
        addresses.iter().all(|address| match transport {
            Transport::Tcp => TcpListener::bind((*address, *port)).is_ok(),
            Transport::Udp => UdpSocket::bind((*address, *port)).is_ok(),
        })
    };
    (port..=u16::MAX).skip(1).take(256).find(free)
}

fn first_bindable() -> u16 {
    if rustix::process::geteuid().is_root() {
        return 0;
    }
    minato_host::sockets::first_unprivileged_port()
}
