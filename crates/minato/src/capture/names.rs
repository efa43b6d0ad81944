//! Whose the ends of packets are, as far as the engine could tell so far. What was learnt of a connection stays when it has
//! ended meanwhile; hosts and bound ports are those of the last look.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use minato_inspect::{Flow, Host, PortRow, Process, Transport};
use minato_ports::{Port, PortClass, registry};

use super::dissect::{Dissected, Way};
use super::{Packet, Party};

/// One end of a conversation, and the other one.
type Conversation = (Transport, SocketAddr, SocketAddr);

/// Addresses that a process is bound to.
type Binding = (Vec<IpAddr>, Process);

/// Most conversations that are remembered. Past it everything is forgotten, and asked for again.
const MOST: usize = 65_536;

/// What is known.
#[derive(Debug)]
pub(super) struct Names {
    /// The host that is captured: the one whose loopback is seen.
    own: String,
    hosts: HashMap<IpAddr, Host>,
    /// By its own end.
    processes: HashMap<Conversation, Process>,
    /// Clients of the machine and beyond that appear with another address, by the address that is seen.
    clients: HashMap<Conversation, SocketAddr>,
    /// Who is bound to a port of a host, where that is one process or one program's.
    bound: HashMap<(String, Transport, u16), Vec<Binding>>,
}

/// What the engine says at one moment.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) hosts: Vec<Host>,
    pub(super) ports: Vec<PortRow>,
    pub(super) flows: Vec<Flow>,
}

impl Names {
    /// Nothing is known yet. Packets are seen from inside the host `own`.
    pub(super) fn of(own: &str) -> Names {
        let (hosts, processes, clients, bound) = Default::default();
        Names { own: own.into(), hosts, processes, clients, bound }
    }

    /// Adds what the engine says.
    pub(super) fn learn(&mut self, looked: Looked) {
        if self.processes.len() + self.clients.len() > MOST {
            *self = Names::of(&self.own);
        }
        // What is there now replaces what was: a port that its process has left is nobody's. The host that is captured has
        // its last packets yet when it is gone.
        self.hosts.retain(|_, host| host.name == self.own);
        for host in looked.hosts {
            self.hosts.extend(host.addresses().map(|address| (address, host.clone())));
        }
        let mut bound: HashMap<_, Vec<_>> = HashMap::new();
        for row in looked.ports {
            if let (Some(host), Some(process)) = (row.host, row.processes.into_iter().next()) {
                let also_v4 = row.dual_stack.then_some(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
                let addresses = row.addresses.into_iter().chain(also_v4).collect();
                bound.entry((host, row.transport, row.port)).or_default().push((addresses, process));
            }
        }
        self.bound = bound;
        for flow in looked.flows {
            self.learn_flow(flow);
        }
    }

    fn learn_flow(&mut self, flow: Flow) {
        let real = SocketAddr::new(flow.client.address, flow.client.port);
        let client = flow.seen_as.unwrap_or(real);
        let server = SocketAddr::new(flow.server.address, flow.server.port);
        if client != real {
            self.clients.insert((flow.transport, client, server), real);
        }
        if let Some(process) = flow.client.process {
            self.processes.insert((flow.transport, client, server), process);
        }
        if let Some(process) = flow.server.process {
            self.processes.insert((flow.transport, server, client), process);
        }
    }

    /// Forgets whose the ends of a packet's conversation are: it begins anew.
    pub(super) fn forget(&mut self, way: Way) {
        if let Way::Ports(transport, source, destination) = way {
            for key in [(transport, source, destination), (transport, destination, source)] {
                self.processes.remove(&key);
                self.clients.remove(&key);
            }
        }
    }

    /// Whether the engine may know more about the ends of a packet than is known here.
    pub(super) fn lacks(&self, way: Way) -> bool {
        let Way::Ports(transport, source, destination) = way else { return false };
        [(source, destination), (destination, source)].into_iter().any(|(end, other)| {
            let client = self.clients.contains_key(&(transport, end, other));
            let ours = self.host_of(end.ip()).is_some() || !self.is_known(end.ip());
            ours && !client && !super::dissect::is_group(end.ip()) && self.process(transport, end, other).is_none()
        })
    }

    /// The packet with the names of its ends.
    pub(super) fn packet(&self, seen: &super::Seen, dissected: &Dissected, interface: String) -> Packet {
        let (transport, source, destination) = match dissected.way {
            Way::Ports(transport, source, destination) => {
                let parties = [(source, destination), (destination, source)]
                    .map(|(end, other)| Some(self.party(transport, end, other)));
                let [source, destination] = parties;
                (Some(transport), source, destination)
            }
            Way::Addresses(source, destination) => (None, self.place(source), self.place(destination)),
            Way::Unknown => (None, None, None),
        };
        Packet {
            time: seen.info.time.as_secs_f64(),
            interface,
            direction: seen.info.direction.into(),
            transport,
            source,
            destination,
            what: dissected.words.clone(),
            length: seen.info.length,
        }
    }

    fn party(&self, transport: Transport, end: SocketAddr, other: SocketAddr) -> Party {
        let host = self.host_of(end.ip());
        let ephemeral = match host {
            Some(host) => (host.ephemeral_range.0..=host.ephemeral_range.1).contains(&end.port()),
            None => PortClass::of(end.port()) == PortClass::Dynamic,
        };
        let service = Port::new(end.port()).and_then(|_| registry::lookup(end.port(), registered_for(transport)));
        Party {
            host: host.map(|host| host.name.clone()),
            address: end.ip(),
            port: Some(end.port()),
            ephemeral,
            registered: service.map(|service| service.name().to_owned()),
            process: self.process(transport, end, other).cloned(),
            client: self.clients.get(&(transport, end, other)).copied(),
        }
    }

    /// An address without a port.
    fn place(&self, address: IpAddr) -> Option<Party> {
        let host = self.host_of(address).map(|host| host.name.clone());
        Some(Party { host, address, port: None, ephemeral: false, registered: None, process: None, client: None })
    }

    fn process(&self, transport: Transport, end: SocketAddr, other: SocketAddr) -> Option<&Process> {
        self.processes.get(&(transport, end, other)).or_else(|| {
            let host = self.host_of(end.ip())?;
            let bound = self.bound.get(&(host.name.clone(), transport, end.port()))?;
            // Whoever has that address goes before those that have any of its family.
            let at = |address: IpAddr| bound.iter().find(|(addresses, _)| addresses.contains(&address));
            let any = if end.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
            at(end.ip()).or_else(|| at(any)).map(|(_, process)| process)
        })
    }

    fn host_of(&self, address: IpAddr) -> Option<&Host> {
        if address.is_loopback() {
            return self.hosts.values().find(|host| host.name == self.own);
        }
        self.hosts.get(&address)
    }

    /// Whether an address is surely none of a host: the network's hosts are known, and it is not among them.
    fn is_known(&self, address: IpAddr) -> bool {
        !self.hosts.is_empty() && !self.in_network(address)
    }

    /// Whether an address is in the subnet of the hosts: a host that is new, or the gateway, behind which are clients.
    fn in_network(&self, address: IpAddr) -> bool {
        self.hosts.keys().any(|known| match (known, address) {
            (IpAddr::V4(known), IpAddr::V4(address)) => known.octets()[..3] == address.octets()[..3],
            (IpAddr::V6(known), IpAddr::V6(address)) => known.segments()[..4] == address.segments()[..4],
            _ => false,
        })
    }
}

fn registered_for(transport: Transport) -> minato_ports::Transport {
    match transport {
        Transport::Tcp => minato_ports::Transport::Tcp,
        Transport::Udp => minato_ports::Transport::Udp,
    }
}

#[cfg(test)]
mod tests;
