//! What is so: asked of the engine, the kernel, the resolver and the network, without drawing conclusions.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use minato_engine::unheld;
use minato_inspect::{Collision, EgressVerdict, Forward, Host, PortRow};
use minato_ports::Transport;

use super::firewall::{self, Firewall};
use super::probe::{Outcome, Resolved, attempt, attempt_from, look_up, resolve_from};
use super::target::{Place, Target};
use crate::client::{Client, RequestError};
use crate::failure::Failure;
use crate::flags::Name;
use crate::machine;

/// Everything that a diagnosis may build on.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// What the target means.
    pub(super) subject: Subject,
    /// The host from inside of which, if not from this machine.
    pub(super) from: Option<String>,
    /// The network's name, for command lines.
    pub(super) network_flag: String,
    /// What the engine knows; `None` when none runs.
    pub(super) network: Option<Network>,
    /// This machine's sockets on the target's port, of both transports; or why they can't be seen.
    pub(super) machine: Result<Vec<PortRow>, String>,
    /// Connections that were tried.
    pub(super) trials: Vec<Trial>,
    /// What the policy of the host from inside of which says about the target: its name, if it has one, and its addresses.
    pub(super) verdicts: Vec<EgressVerdict>,
    /// The lowest port of this machine that the user may bind.
    pub(super) first_bindable: u16,
    /// Whether the user is root.
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
    /// Addresses that are neither.
    Elsewhere(Vec<IpAddr>),
    /// A name that leads nowhere, and why.
    Unresolved(String),
}

/// What the engine knows.
#[derive(Clone, Debug, Default)]
pub(super) struct Network {
    pub(super) hosts: Vec<Host>,
    pub(super) services: Vec<PortRow>,
    pub(super) forwards: Vec<Forward>,
    /// What its subnet hides from its hosts.
    pub(super) collisions: Vec<Collision>,
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
    let network = network(client).await.map_err(|error| error.into_failure(client))?;
    let from = from.map(Name::as_str);
    let subject = match (subject(target, from, network.as_ref()), from) {
        (Some(subject), _) => subject,
        // Each host has resolvers of its own, which may say something else or nothing.
        (None, Some(host)) => resolved(resolve_from(host, target.name().unwrap_or_default(), client).await?),
        (None, None) => resolved(look_up(target.name().unwrap_or_default())),
    };
    let verdicts = verdicts(target, &subject, from, client).await.map_err(|error| error.into_failure(client))?;
    let machine = machine::ports().map_err(|error| error.to_string()).map(|mut rows| {
        rows.retain(|row| row.port == target.port && !is_own_of_host(row, network.as_ref()));
        rows
    });
    let trials = try_all(target, &subject, from, network.as_ref(), client).await?;
    let firewalls = firewall::look(target, &subject, network.as_ref(), &trials, client).await?;
    let network_flag = crate::client::network_flag(client.directory());
    let services = network.iter().flat_map(|network| &network.services);
    let processes = services.chain(machine.iter().flatten()).flat_map(|row| &row.processes);
    let stopped = processes.map(|process| process.pid).filter(|pid| minato_host::process::is_stopped(*pid)).collect();
    let is_held = machine.as_ref().is_ok_and(|rows| !rows.is_empty());
    Ok(Facts {
        next_free: if is_held { next_free(target.port, target.transport) } else { None },
        firewalls,
        is_root: rustix::process::geteuid().is_root(),
        first_bindable: first_bindable(),
        subject,
        from: from.map(str::to_owned),
        network_flag,
        network,
        machine,
        trials,
        verdicts,
        stopped,
    })
}

async fn network(client: &Client) -> Result<Option<Network>, RequestError> {
    let hosts = match client.hosts().await {
        Ok(hosts) => hosts,
        Err(RequestError::NotRunning) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut services = client.ports().await?;
    // What a host's own address leads to says nothing about other addresses of the machine.
    services.iter_mut().for_each(|row| row.forwarded_from.retain(|forward| !forward.automatic));
    let collisions = client.network().await?.collisions;
    Ok(Some(Network { hosts, services, forwards: client.forwards().await?, collisions }))
}

/// Whether a socket is what holds a port at a host's own loopback address: that is among the forwards, and leads nowhere
/// else.
fn is_own_of_host(row: &PortRow, network: Option<&Network>) -> bool {
    let holds = |forward: &Forward| {
        forward.automatic
            && (forward.host_port, forward.transport) == (row.port, row.transport)
            && row.addresses == [forward.address]
    };
    network.is_some_and(|network| network.forwards.iter().any(holds))
}

/// What a target means; `None` for a name that has to be resolved.
fn subject(target: &Target, from: Option<&str>, network: Option<&Network>) -> Option<Subject> {
    let host_with = |test: &dyn Fn(&Host) -> bool| {
        network.and_then(|network| network.hosts.iter().find(|host| test(host))).map(|host| host.name.clone())
    };
    Some(match &target.place {
        // Inside a host, "here" is that host.
        Place::Machine => from.map_or_else(
            || Subject::Machine(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]),
            |host| Subject::Host(host.to_owned(), None),
        ),
        Place::Address(address) => match host_with(&|host| host.addresses().any(|own| own == *address)) {
            Some(host) => Subject::Host(host, Some(*address)),
            None if is_own(*address) => Subject::Machine(vec![*address]),
            None => Subject::Elsewhere(vec![*address]),
        },
        Place::Name(name) => {
            return host_with(&|host| host.name == *name).map(|host| Subject::Host(host, None));
        }
    })
}

/// Whether a socket that is bound to these addresses takes what is sent to that one.
pub(super) fn covers(bound: &[IpAddr], address: IpAddr) -> bool {
    bound.iter().any(|bound| *bound == address || (bound.is_unspecified() && bound.is_ipv4() == address.is_ipv4()))
}

pub(super) fn is_own(address: IpAddr) -> bool {
    let own = || minato_host::routes::addresses().unwrap_or_default();
    address.is_loopback() || own().iter().any(|interface| interface.address == address)
}

fn resolved(outcome: Resolved) -> Subject {
    outcome.map_or_else(Subject::Unresolved, Subject::Elsewhere)
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
        Subject::Host(..) => return Ok(Vec::new()),
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
        Subject::Machine(addresses) | Subject::Elsewhere(addresses) => addresses.clone(),
        Subject::Host(_, Some(address)) => vec![*address],
        Subject::Host(_, None) => host.map(|host| host.addresses().collect()).unwrap_or_default(),
        Subject::Unresolved(_) => Vec::new(),
    };
    // Only what is in the network can reach a host's address; the host itself is always there.
    let from = from.or_else(|| host.map(|host| host.name.as_str()));
    let mut trials = Vec::new();
    for address in addresses {
        let destination = SocketAddr::new(address, target.port);
        let outcome = match from {
            Some(host) => attempt_from(host, destination, target.transport, client).await?,
            None => attempt(destination, target.transport),
        };
        trials.push(Trial { from: from.map(str::to_owned), destination, outcome });
    }
    Ok(trials)
}

/// The next port that is free on both loopback addresses.
fn next_free(port: u16, transport: Transport) -> Option<u16> {
    let free = |port: &u16| {
        [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()].into_iter().all(|address| match transport {
            Transport::Tcp => TcpListener::bind((address, *port)).is_ok(),
            Transport::Udp => UdpSocket::bind((address, *port)).is_ok(),
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
