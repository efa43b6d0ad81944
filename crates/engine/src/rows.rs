//! Who is bound where: rows for people out of a kernel's socket table. A host's and a machine's own come about alike.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use minato_host::holder::{Holder, HolderProcesses};
use minato_host::process::{self, Owner, SocketOwners};
use minato_host::sock_diag::{Query, SockDiag, SocketInfo, State as SocketState, States};
use minato_host::{Family, Transport};
use minato_inspect::{self as inspect, AcceptQueue, PortRow, Process, Unknown};
use minato_ports::registry;

use crate::convert;

/// Sockets that hold a port and have no peer.
///
/// # Errors
/// The kernel's socket table can't be read.
pub fn bound_sockets(table: &mut SockDiag) -> io::Result<Vec<SocketInfo>> {
    let mut found = Vec::new();
    for (transport, states) in [(Transport::Tcp, States::HOLDING), (Transport::Udp, States::UNCONNECTED)] {
        for family in [Family::V4, Family::V6] {
            table.dump(Query::new(family, transport, states), |socket| {
                // Port 0 is no port; the relay's own sockets inside a host have no process there.
                if socket.local.port() != 0 && socket.remote.port() == 0 {
                    found.push(*socket);
                }
            })?;
        }
    }
    Ok(found)
}

/// What is one row: one port of one transport in one state, held by the same processes.
type Key = (u16, inspect::Transport, bool, Vec<u32>, Option<u64>);

/// One row for a program's sockets on one port, whatever their addresses and families. A socket that no process has open
/// is the kernel's own, or one that has `vanished` meanwhile where the kernel has none.
pub fn merge(
    sockets: &[SocketInfo],
    owners: &SocketOwners,
    vanished: Option<Unknown>,
    describe: impl Fn(u32) -> Option<process::Process>,
) -> Vec<PortRow> {
    let mut known: BTreeMap<u32, Option<Process>> = BTreeMap::new();
    let mut rows: BTreeMap<Key, PortRow> = BTreeMap::new();
    for socket in sockets {
        let (pids, unknown) = match owners.owner(socket.inode) {
            Owner::Processes(pids) => (pids.to_vec(), None),
            Owner::NoPermission => (Vec::new(), Some(Unknown::NoPermission)),
            Owner::Nobody => (Vec::new(), vanished),
        };
        let row = row(socket, unknown);
        // Sockets whose holders are unknown may have different ones.
        let apart = pids.is_empty().then_some(socket.inode);
        let merged = rows.entry((row.port, row.transport, row.listening, pids.clone(), apart)).or_insert_with(|| {
            let mut look =
                |pid: &u32| known.entry(*pid).or_insert_with(|| describe(*pid).map(convert::process)).clone();
            PortRow { processes: pids.iter().filter_map(&mut look).collect(), ..row.clone() }
        });
        merged.dual_stack |= row.dual_stack;
        // The fuller one of both families' tells more.
        merged.accept_queue = merged.accept_queue.into_iter().chain(row.accept_queue).max_by_key(|queue| queue.waiting);
        merged.addresses.extend(row.addresses);
        merged.addresses.sort_unstable();
        merged.addresses.dedup();
    }
    rows.into_values().collect()
}

fn row(socket: &SocketInfo, process_unknown: Option<Unknown>) -> PortRow {
    let transport = convert::from_host(socket.transport);
    let port = socket.local.port();
    let address = socket.local.ip();
    let dual_stack = socket.family == Family::V6 && address.is_unspecified() && !socket.v6only;
    let also_v4 = dual_stack.then_some(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    PortRow {
        host: None,
        addresses: std::iter::once(address.to_canonical()).chain(also_v4).collect(),
        dual_stack,
        port,
        transport: convert::to_inspect(transport),
        listening: socket.transport == Transport::Udp || socket.state == SocketState::Listen,
        class: convert::class(port),
        registered: registry::lookup(port, transport).map(|service| service.name().to_owned()),
        processes: Vec::new(),
        process_unknown,
        forwarded_from: Vec::new(),
        accept_queue: accept_queue(socket),
        inode: socket.inode,
    }
}

fn accept_queue(socket: &SocketInfo) -> Option<AcceptQueue> {
    let listens = socket.transport == Transport::Tcp && socket.state == SocketState::Listen;
    listens.then_some(AcceptQueue { waiting: socket.receive_queue, limit: socket.send_queue })
}

/// A process as it is shown.
pub fn process(process: process::Process) -> Process {
    convert::process(process)
}

/// Who is in the way of a bind to `wanted`; without anybody, a holder that has gone meanwhile.
pub fn holder(found: Option<&Holder>, wanted: SocketAddr, transport: minato_ports::Transport) -> inspect::Holder {
    let (processes, unknown) = match found.map(|holder| &holder.processes) {
        Some(HolderProcesses::Known(known)) => (known.iter().cloned().map(convert::process).collect(), None),
        Some(HolderProcesses::NoPermission) => (Vec::new(), Some(Unknown::NoPermission)),
        Some(HolderProcesses::Nobody) | None => (Vec::new(), Some(Unknown::Vanished)),
    };
    let address = found.map_or(wanted.ip(), |holder| holder.local.ip());
    let transport = convert::to_inspect(transport);
    inspect::Holder { address, port: wanted.port(), transport, processes, unknown, host: None }
}

#[cfg(test)]
mod tests;
