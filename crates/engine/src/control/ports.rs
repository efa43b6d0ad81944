//! Who is bound where, in every host.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, PoisonError};

use minato_host::process::{self, Owner, SocketOwners};
use minato_host::sock_diag::{Query, SocketInfo, State as SocketState, States};
use minato_host::{Family, Transport};
use minato_inspect::{AcceptQueue, Forward, PortRow, Problem, Process, Unknown};
use minato_ports::registry;

use super::{Control, Inside, blocking};
use crate::convert;
use crate::plane::Command;

impl Control {
    /// Bound ports of all hosts, by host, port and transport.
    pub(crate) async fn ports(self: &Arc<Self>) -> Result<Vec<PortRow>, Problem> {
        let (running, serials): (Vec<(String, Inside)>, Vec<u32>) = {
            let state = self.state();
            (state.all_running(), state.hosts.values().map(|host| host.serial).collect())
        };
        serials.into_iter().for_each(|serial| self.plane.send(Command::Look(serial)));
        let forwards = self.forwards().await?;
        blocking(move || {
            let mut pids = process::by_network();
            let mut pids_of = |inside: &Inside| pids.remove(&inside.network_inode).unwrap_or_default();
            running.iter().flat_map(|(host, inside)| rows(host, inside, &pids_of(inside), &forwards)).collect()
        })
        .await
    }
}

/// The rows of one host.
fn rows(host: &str, inside: &Inside, pids: &[u32], forwards: &[Forward]) -> Vec<PortRow> {
    let owners = SocketOwners::of(pids);
    let mut known: BTreeMap<u32, Option<Process>> = BTreeMap::new();
    // Merged when port, transport, state and holder agree: one program on IPv4 and IPv6 is one row.
    let mut merged: BTreeMap<(u16, minato_inspect::Transport, bool, Vec<u32>), PortRow> = BTreeMap::new();
    for socket in bound_sockets(inside) {
        let (holders, unknown) = match owners.owner(socket.inode) {
            Owner::Processes(pids) => (pids.to_vec(), None),
            Owner::NoPermission => (Vec::new(), Some(Unknown::NoPermission)),
            Owner::Nobody => (Vec::new(), Some(Unknown::Vanished)),
        };
        let row = row(host, &socket, forwards);
        let key = (row.port, row.transport, row.listening, holders.clone());
        let describe =
            |pid: &u32| known.entry(*pid).or_insert_with(|| process::describe(*pid).map(convert::process)).clone();
        let merged = merged.entry(key).or_insert_with(|| PortRow {
            processes: holders.iter().filter_map(describe).collect(),
            process_unknown: unknown,
            ..row.clone()
        });
        merged.dual_stack |= row.dual_stack;
        // The fuller one of both families' tells more.
        merged.accept_queue = merged.accept_queue.into_iter().chain(row.accept_queue).max_by_key(|queue| queue.waiting);
        merged.addresses.extend(row.addresses);
        merged.addresses.sort_unstable();
        merged.addresses.dedup();
    }
    merged.into_values().collect()
}

fn row(host: &str, socket: &SocketInfo, forwards: &[Forward]) -> PortRow {
    let transport = convert::from_host(socket.transport);
    let port = socket.local.port();
    let leads_here = |forward: &&Forward| {
        forward.host == host && forward.service_port == port && forward.transport == convert::to_inspect(transport)
    };
    let address = socket.local.ip();
    let dual_stack = socket.family == Family::V6 && address.is_unspecified() && !socket.v6only;
    let mut addresses = vec![address.to_canonical()];
    if dual_stack {
        addresses.push(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    }
    PortRow {
        host: Some(host.to_owned()),
        addresses,
        dual_stack,
        port,
        transport: convert::to_inspect(transport),
        listening: socket.transport == Transport::Udp || socket.state == SocketState::Listen,
        class: convert::class(port),
        registered: registry::lookup(port, transport).map(|service| service.name().to_owned()),
        processes: Vec::new(),
        process_unknown: None,
        forwarded_from: forwards.iter().filter(leads_here).cloned().collect(),
        accept_queue: accept_queue(socket),
        inode: socket.inode,
    }
}

fn accept_queue(socket: &SocketInfo) -> Option<AcceptQueue> {
    let listens = socket.transport == Transport::Tcp && socket.state == SocketState::Listen;
    listens.then_some(AcceptQueue { waiting: socket.receive_queue, limit: socket.send_queue })
}

/// Sockets that hold a port and have no peer.
fn bound_sockets(inside: &Inside) -> Vec<SocketInfo> {
    let mut found = Vec::new();
    let mut sockets = inside.sockets.lock().unwrap_or_else(PoisonError::into_inner);
    for (transport, states) in [(Transport::Tcp, States::HOLDING), (Transport::Udp, States::UNCONNECTED)] {
        for family in [Family::V4, Family::V6] {
            let query = Query::new(family, transport, states);
            let result = sockets.dump(query, |socket| {
                // Port 0 is no port; the relay's own sockets inside the host have no process there.
                if socket.local.port() != 0 && socket.remote.port() == 0 {
                    found.push(*socket);
                }
            });
            if let Err(error) = result {
                tracing::warn!(%error, "can't read a host's socket table");
            }
        }
    }
    found
}
