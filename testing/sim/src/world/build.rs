//! Building a world and planning what shall happen in it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use minato_transport::IpCidr;

use super::agenda::{Agenda, Happening};
use super::host::Host;
use super::middle::{Router, Switch};
use super::{Bounds, HostConfig, Kind, LinkId, Node, NodeId, Opening, Wire, World};
use crate::clock::Clock;
use crate::endpoint::Step;
use crate::link::{Link, LinkConfig};
use crate::packet::{Medium, router_addresses};
use crate::random::Random;
use crate::trace::Trace;

/// Building.
impl World {
    /// A world without anything in it.
    #[must_use]
    pub fn new(seed: u64) -> World {
        World {
            seed,
            clock: Clock::new(),
            bounds: Bounds::default(),
            trace: Trace::from_environment(),
            agenda: Agenda::default(),
            nodes: Vec::new(),
            wires: Vec::new(),
            openings: 0,
            events: 0,
            events_now: 0,
            next_patience_check: Duration::ZERO,
        }
    }

    /// Two hosts, 1 and 2, joined by a link whose directions are alike.
    #[must_use]
    pub fn pair(seed: u64, hosts: [HostConfig; 2], link: &LinkConfig) -> (World, [NodeId; 2], [LinkId; 2]) {
        let mut world = World::new(seed);
        let hosts = hosts.map(|config| world.add_host(&config));
        let links = world.join(hosts[0], hosts[1], link.clone(), link.clone());
        (world, hosts, links)
    }

    /// Where the run ends if it does not end by itself.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// Where the trace goes.
    pub fn set_trace(&mut self, trace: Trace) {
        self.trace = trace;
    }

    /// A host, to be joined by one link.
    pub fn add_host(&mut self, config: &HostConfig) -> NodeId {
        let node = NodeId(self.nodes.len());
        let host = Host::new(self.clock, config, node, self.seed);
        self.add(Kind::Host(Box::new(host)))
    }

    /// An Ethernet switch.
    pub fn add_switch(&mut self) -> NodeId {
        self.add(Kind::Switch(Switch::default()))
    }

    /// An IP router. `silent`: packets that are too big for the next link vanish without an ICMP message.
    pub fn add_router(&mut self, silent: bool) -> NodeId {
        let addresses = router_addresses(self.nodes.len());
        self.add(Kind::Router(Router { addresses, routes: BTreeMap::new(), default_port: None, silent }))
    }

    /// Joins two nodes: `forth` leads from the first to the second. A router learns a host's addresses from it, and
    /// sends what it doesn't know to the router that was joined to it last.
    ///
    /// # Panics
    /// If the nodes' frames are laid out differently.
    pub fn join(&mut self, one: NodeId, other: NodeId, forth: LinkConfig, back: LinkConfig) -> [LinkId; 2] {
        let medium = self.medium(one);
        assert_eq!(medium, self.medium(other), "both ends of a link speak the same");
        let ports = [self.nodes[one.0].ports.len(), self.nodes[other.0].ports.len()];
        let links = [self.wires.len(), self.wires.len() + 1];
        let directions = [(one.0, other.0, ports[1], forth), (other.0, one.0, ports[0], back)];
        for (link, (from, node, port, config)) in links.into_iter().zip(directions) {
            let random = Random::of_part(self.seed, link as u64);
            self.wires.push(Wire { link: Link::new(config, medium, random), from, node, port });
            self.nodes[from].ports.push(link);
        }
        self.learn(one.0, other.0, ports[0]);
        self.learn(other.0, one.0, ports[1]);
        links.map(LinkId)
    }

    /// Lets a host play `script` on every connection to `local`.
    ///
    /// # Panics
    /// If the stack can't listen there.
    pub fn listen(&mut self, host: NodeId, local: SocketAddr, script: &[Step]) {
        let listening = self.host_mut(host.0).listen(local, script);
        self.expect(listening);
    }

    /// Lets a host with `any_destination` play `script` on every connection that it takes.
    pub fn accept_any(&mut self, host: NodeId, script: &[Step]) {
        self.host_mut(host.0).accept_any(script);
    }

    /// Plans that a host opens a connection.
    pub fn open(&mut self, at: Duration, host: NodeId, opening: Opening) {
        self.openings += 1;
        self.agenda.plan(at, Happening::Open { host: host.0, opening });
    }

    /// Plans that a link gets other properties.
    pub fn change_link(&mut self, at: Duration, link: LinkId, config: LinkConfig) {
        self.agenda.plan(at, Happening::Change { link: link.0, config: Box::new(config) });
    }

    fn add(&mut self, kind: Kind) -> NodeId {
        self.nodes.push(Node { kind, ports: Vec::new() });
        NodeId(self.nodes.len() - 1)
    }

    fn medium(&self, node: NodeId) -> Medium {
        match &self.nodes[node.0].kind {
            Kind::Host(host) => host.medium,
            Kind::Switch(_) => Medium::ETHERNET,
            Kind::Router(_) => Medium::IP,
        }
    }

    /// Tells a router who is behind its port.
    fn learn(&mut self, router: usize, neighbor: usize, port: usize) {
        let addresses: Option<Vec<_>> = match &self.nodes[neighbor].kind {
            Kind::Host(host) => Some(host.stack.config().addresses.iter().map(IpCidr::address).collect()),
            _ => None,
        };
        if let Kind::Router(router) = &mut self.nodes[router].kind {
            match addresses {
                Some(addresses) => router.routes.extend(addresses.into_iter().map(|address| (address, port))),
                None => router.default_port = Some(port),
            }
        }
    }
}
