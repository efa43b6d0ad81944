//! The user's networks: which of them a target is asked of, and what is known of all.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use minato_inspect::{Collision, Forward, Host, PortRow};

use super::covers;
use crate::client::{Client, RequestError};
use crate::explain::target::{Place, Target};
use crate::flags::{Name, argument};

/// What the engine of a network knows.
#[derive(Clone, Debug, Default)]
pub(in crate::explain) struct Network {
    pub(in crate::explain) name: Name,
    pub(in crate::explain) hosts: Vec<Host>,
    pub(in crate::explain) services: Vec<PortRow>,
    pub(in crate::explain) forwards: Vec<Forward>,
    /// What its subnet hides from its hosts.
    pub(in crate::explain) collisions: Vec<Collision>,
    /// Addresses of its gateway.
    pub(in crate::explain) gateway: Vec<IpAddr>,
}

impl Network {
    /// Asks the engine; `None` when none runs.
    pub(super) async fn of(client: &Client) -> Result<Option<Network>, RequestError> {
        let hosts = match client.hosts().await {
            Ok(hosts) => hosts,
            Err(RequestError::NotRunning) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut services = client.ports().await?;
        // What a host's own address leads to says nothing about other addresses of the machine.
        services.iter_mut().for_each(|row| row.forwarded_from.retain(|forward| !forward.automatic));
        let own = client.network().await?;
        let gateway = [IpAddr::V4(own.gateway_v4)].into_iter().chain(own.gateway_v6.map(IpAddr::V6)).collect();
        Ok(Some(Network {
            name: client.directory().network().clone(),
            hosts,
            services,
            forwards: client.forwards().await?,
            collisions: own.collisions,
            gateway,
        }))
    }

    /// The user's networks beside that one; one whose engine does not answer is none.
    pub(super) async fn beside(client: &Client) -> Vec<Network> {
        let mut others = Vec::new();
        for directory in client.directory().siblings() {
            let Ok(client) = Client::new(directory) else { continue };
            if let Ok(Some(other)) = Network::of(&client).await {
                others.push(other);
            }
        }
        others.sort_by(|one, other| one.name.cmp(&other.name));
        others
    }

    /// The host with this name.
    pub(in crate::explain) fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.iter().find(|host| host.name == name)
    }

    /// The forward of a host's own address on this machine.
    pub(in crate::explain) fn own_forward(&self, row: &PortRow) -> Option<&Forward> {
        self.forwards.iter().find(|forward| {
            forward.automatic
                && (Some(&forward.host), forward.service_port, forward.transport)
                    == (row.host.as_ref(), row.port, row.transport)
        })
    }

    /// Whether a target is its own: a port of this machine that it has for a host, or an address of its own.
    fn has(&self, target: &Target) -> bool {
        let places = match &target.place {
            Place::Address(address) => vec![*address],
            _ if target.is_localhost() => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            Place::Machine | Place::Name(_) => return false,
        };
        let transport = argument::transport(target.transport);
        let leads = |forward: &Forward| {
            (forward.host_port, forward.transport) == (target.port, transport)
                && places.iter().any(|place| covers(&[forward.address], *place))
        };
        let own = |host: &Host| {
            host.addresses().chain(host.loopback_v4.map(IpAddr::V4)).any(|address| places.contains(&address))
        };
        self.forwards.iter().any(leads)
            || self.hosts.iter().any(own)
            || self.gateway.iter().any(|gateway| places.contains(gateway))
    }
}

/// The network that a target is asked of instead of `own`: the one that its name says, or the one that has its port or
/// address when `own` has not.
pub(super) fn meant(target: &Target, own: &Name, asked: Option<&Network>, others: &[Network]) -> Option<Name> {
    if let Some(named) = target.network() {
        return (named != *own).then_some(named);
    }
    if asked.is_some_and(|network| network.has(target)) {
        return None;
    }
    others.iter().find(|other| other.has(target)).map(|other| other.name.clone())
}

/// Has the network with this name, if it runs, be the one that is asked, and what was asked before be one of the others.
pub(super) fn turn_to(name: &Name, asked: &mut Option<Network>, others: &mut Vec<Network>) {
    others.extend(asked.take());
    others.sort_by(|one, other| one.name.cmp(&other.name));
    *asked = others.iter().position(|other| other.name == *name).map(|index| others.remove(index));
}
