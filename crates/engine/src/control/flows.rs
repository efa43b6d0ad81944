//! Who talks to whom: what passes through the packet loop, and connections between and within hosts, which don't.

mod clients;
mod receivers;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use minato_host::process::{self, Owner, SocketOwners};
use minato_host::sock_diag::{Query, SocketInfo, State as SocketState, States};
use minato_host::sync::lock;
use minato_host::{Family, Transport};
use minato_inspect::{Endpoint, Flow, FlowState, Problem, Process};

use super::owners::AddressOwners;
use super::{Control, Inside, blocking};
use crate::convert;
use crate::plane::{Command, FlowSnapshot};
use crate::problem::ending;
use receivers::Receivers;

/// Both ends of a connected socket, its own first.
type Ends = (minato_inspect::Transport, SocketAddr, SocketAddr);

/// The connected sockets of all hosts, and whose they are.
pub(super) struct Sockets {
    hosts: AddressOwners,
    sockets: Vec<(String, SocketInfo)>,
    /// By host, since loopback addresses are the same in every one.
    processes: HashMap<String, HashMap<Ends, Process>>,
    receivers: Receivers,
    /// By process ID; `None` for those that were gone when they were looked at.
    described: HashMap<u32, Option<Process>>,
    listening: HashSet<(String, u16)>,
}

impl Control {
    /// Every flow that is known, with processes where they can be told.
    pub(crate) async fn flows(self: &Arc<Self>) -> Result<Vec<Flow>, Problem> {
        let snapshots = self.plane.ask(Command::Flows).await.map_err(|_| ending())?;
        let (running, hosts, serials, entrances) = {
            let state = self.state();
            let serials: HashMap<u32, String> =
                state.hosts.iter().map(|(name, host)| (host.serial, name.clone())).collect();
            let through = snapshots.iter().filter_map(|snapshot| snapshot.forward);
            let entrances: HashMap<u64, SocketAddr> =
                through.filter_map(|id| Some((id, state.entrance(id)?))).collect();
            (state.all_running(), state.owners(), serials, entrances)
        };
        let direct = Arc::clone(&self.direct);
        blocking(move || {
            let sockets = Sockets::look(&running, hosts);
            let relayed: HashSet<SocketAddr> = snapshots.iter().filter_map(|snapshot| snapshot.seen_as).collect();
            let mut flows: Vec<Flow> =
                snapshots.iter().map(|snapshot| sockets.with_processes(snapshot, &serials)).collect();
            for flow in &mut flows {
                flow.via = flow.forward.and_then(|id| entrances.get(&id).copied());
            }
            clients::name(&mut flows);
            flows.extend(sockets.between_hosts(&relayed));
            flows.extend(direct.flows().into_iter().map(|(_, flow)| flow));
            flows
        })
        .await
    }
}

impl Sockets {
    /// None yet, of hosts with these addresses.
    pub(super) fn of(hosts: AddressOwners) -> Sockets {
        let (sockets, processes, receivers, described, listening) = Default::default();
        Sockets { hosts, sockets, processes, receivers, described, listening }
    }

    fn look(running: &[(String, Inside)], hosts: AddressOwners) -> Sockets {
        let mut all = Sockets::of(hosts);
        let mut found = Vec::with_capacity(running.len());
        for (name, inside) in running {
            let begins = all.sockets.len();
            let mut table = lock(&inside.sockets);
            let connected = [(Transport::Tcp, States::ALL), (Transport::Udp, States::of(SocketState::Established))];
            for (transport, states) in connected {
                for family in [Family::V4, Family::V6] {
                    let query = Query { details: transport == Transport::Tcp, ..Query::new(family, transport, states) };
                    let _ = table.dump(query, |socket| all.add(name, *socket));
                }
            }
            let mut bound = Vec::new();
            for family in [Family::V4, Family::V6] {
                let query = Query::new(family, Transport::Udp, States::UNCONNECTED);
                let _ = table.dump(query, |socket| bound.push(socket.with_plain_addresses()));
            }
            found.push((name, inside.network_inode, begins..all.sockets.len(), bound));
        }
        // Processes after sockets: whoever has one of these is there, unless it has ended meanwhile.
        let mut pids = process::by_network();
        for (name, network, sockets, bound) in found {
            let owners = SocketOwners::of(&pids.remove(&network).unwrap_or_default());
            sockets.for_each(|index| all.own(index, &owners));
            for socket in bound {
                let process = all.owner(&socket, &owners);
                all.receivers.add(name, socket.local, socket.v6only, process);
            }
        }
        all
    }

    /// Looks up whose a socket is.
    fn own(&mut self, index: usize, owners: &SocketOwners) {
        let (host, socket) = self.sockets[index].clone();
        if let Some(process) = self.owner(&socket, owners) {
            self.processes.entry(host).or_default().insert(ends(&socket), process);
        }
    }

    fn owner(&mut self, socket: &SocketInfo, owners: &SocketOwners) -> Option<Process> {
        let Owner::Processes([first, ..]) = owners.owner(socket.inode) else { return None };
        let describe = || process::describe(*first).map(convert::process);
        self.described.entry(*first).or_insert_with(describe).clone()
    }

    /// Adds a socket without asking whose it is.
    pub(super) fn add(&mut self, host: &str, socket: SocketInfo) {
        let socket = socket.with_plain_addresses();
        if socket.state == SocketState::Listen {
            self.listening.insert((host.to_owned(), socket.local.port()));
        }
        if socket.remote.port() != 0 {
            self.sockets.push((host.to_owned(), socket));
        }
    }

    /// Whose the socket with these ends is that is in a host: the one that is connected so, or by UDP the one that takes from
    /// anybody.
    fn process(&self, host: Option<&String>, ends: Ends) -> Option<Process> {
        let (transport, local, _) = ends;
        let connected = self.processes.get(host?).and_then(|of_host| of_host.get(&ends)).cloned();
        let is_udp = transport == minato_inspect::Transport::Udp;
        connected.or_else(|| self.receivers.at(host.filter(|_| is_udp)?, local))
    }

    /// A flow through the packet loop, with hosts (by serial number: `serials`) and processes.
    fn with_processes(&self, snapshot: &FlowSnapshot, serials: &HashMap<u32, String>) -> Flow {
        // What passes through the packet loop ends at hosts of this network, or beyond all of ours.
        let name_at = |address| self.hosts.own.get(&address).cloned();
        let mut flow = snapshot.view(name_at, |serial| serials.get(&serial).cloned());
        let client = SocketAddr::new(flow.client.address, flow.client.port);
        let server = SocketAddr::new(flow.server.address, flow.server.port);
        flow.client.process = self.process(flow.client.host.as_ref(), (flow.transport, client, server));
        if flow.forward.is_some() {
            let ends = (flow.transport, server, snapshot.seen_as.unwrap_or(client));
            flow.server.process = self.process(flow.server.host.as_ref(), ends);
        }
        flow
    }

    /// Connections of which both ends are in hosts, each once: from the side that connected. The relay's own sockets
    /// inside a host are not among them; their addresses are `relayed`.
    fn between_hosts(&self, relayed: &HashSet<SocketAddr>) -> impl Iterator<Item = Flow> {
        let own = |(_, socket): &&(String, SocketInfo)| !relayed.contains(&socket.local);
        self.sockets.iter().filter(own).filter_map(|(host, socket)| self.internal_flow(host, socket))
    }

    /// As [`Sockets::between_hosts`], with the client's host and the inode of its socket. The relay's own are among them
    /// where they are at loopback.
    pub(super) fn internal_flows(&self) -> impl Iterator<Item = (&str, u64, Flow)> {
        let flow = |(host, socket): &'_ (String, SocketInfo)| self.internal_flow(host, socket);
        self.sockets.iter().filter_map(move |own| Some((own.0.as_str(), own.1.inode, flow(own)?)))
    }

    fn internal_flow(&self, host: &str, socket: &SocketInfo) -> Option<Flow> {
        let transport = convert::to_inspect(convert::from_host(socket.transport));
        // Those of the relay that are closed already have a client's address or the gateway's.
        let local = socket.local.ip();
        if !local.is_loopback() && self.hosts.own.get(&local).is_none_or(|owner| owner != host) {
            return None;
        }
        let loopback = socket.remote.ip().is_loopback();
        let peer = if loopback { Some(host.to_owned()) } else { self.hosts.name(socket.remote.ip()) }?;
        let peer_listens = self.listening.contains(&(peer.clone(), socket.remote.port()));
        let own_listens = self.listening.contains(&(host.to_owned(), socket.local.port()));
        // Where neither end listens any more (or both do), the higher port is likely the client's.
        let is_client = match (peer_listens, own_listens) {
            (true, false) => true,
            (false, true) => false,
            _ => socket.local.port() > socket.remote.port(),
        };
        // What connects from a host whose sockets are not seen here is shown from the other side.
        let is_seen = loopback || self.hosts.own.contains_key(&socket.remote.ip());
        if !is_client && is_seen {
            return None;
        }
        let endpoint = |host: Option<String>, own: SocketAddr, other: SocketAddr| Endpoint {
            process: self.process(host.as_ref(), (transport, own, other)),
            host,
            address: own.ip(),
            port: own.port(),
            process_unknown: None,
            name: None,
        };
        let own = endpoint(Some(host.to_owned()), socket.local, socket.remote);
        let other = endpoint(Some(peer), socket.remote, socket.local);
        let sent = socket.tcp.map(|details| acknowledged_data(socket.state, details.bytes_acked));
        let received = socket.tcp.map(|details| details.bytes_received);
        let ((client, bytes_in), (server, bytes_out)) =
            if is_client { ((own, sent), (other, received)) } else { ((other, received), (own, sent)) };
        Some(Flow {
            transport,
            client,
            server,
            forward: None,
            via: None,
            direct: false,
            seen_as: None,
            state: state(socket.state),
            age_seconds: None,
            bytes_in,
            bytes_out,
            retransmits: socket.tcp.map(|details| u64::from(details.retransmits)),
            rtt_micros: socket.tcp.map(|details| u64::from(details.rtt_microseconds)),
        })
    }
}

/// The kernel counts the acknowledgement of the SYN of a side that connects as a byte.
pub(super) fn acknowledged_data(state: SocketState, bytes_acked: u64) -> u64 {
    // The FIN takes a number too, and is acknowledged in the states behind it.
    let fin = matches!(state, SocketState::FinWait2 | SocketState::TimeWait);
    bytes_acked.saturating_sub(1 + u64::from(fin))
}

fn ends(socket: &SocketInfo) -> Ends {
    (convert::to_inspect(convert::from_host(socket.transport)), socket.local, socket.remote)
}

pub(super) fn state(state: SocketState) -> FlowState {
    match state {
        SocketState::SynSent | SocketState::SynReceived | SocketState::NewSynReceived => FlowState::Connecting,
        SocketState::FinWait1 | SocketState::FinWait2 | SocketState::CloseWait => FlowState::HalfClosed,
        SocketState::LastAck | SocketState::Closing | SocketState::Close => FlowState::Closing,
        SocketState::TimeWait => FlowState::TimeWait,
        SocketState::Established | SocketState::Listen | SocketState::BoundInactive => FlowState::Established,
    }
}
