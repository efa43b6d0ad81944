//! This machine's own ports, seen the same way as a host's: sockets from the kernel's table, processes from `/proc`.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

use minato_host::process::{self, Owner, SocketOwners};
use minato_host::sock_diag::{Query, SockDiag, SocketInfo, State, States};
use minato_host::{Family, Transport as HostTransport};
use minato_inspect::{AcceptQueue, PortClass, PortRow, Process, Transport, Unknown};
use minato_ports::registry;

/// Who is bound where on this machine, by port and transport.
///
/// # Errors
/// The kernel's socket table can't be read.
pub(crate) fn ports() -> io::Result<Vec<PortRow>> {
    let sockets = bound_sockets()?;
    let owners = if sockets.is_empty() { SocketOwners::default() } else { SocketOwners::of_machine() };
    Ok(merge(&sockets, &owners, process::describe))
}

/// Sockets that hold a port and have no peer.
fn bound_sockets() -> io::Result<Vec<SocketInfo>> {
    let mut table = SockDiag::open()?;
    let mut sockets = Vec::new();
    for (transport, states) in [(HostTransport::Tcp, States::HOLDING), (HostTransport::Udp, States::UNCONNECTED)] {
        for family in [Family::V4, Family::V6] {
            table.dump(Query::new(family, transport, states), |socket| {
                if socket.local.port() != 0 && socket.remote.port() == 0 {
                    sockets.push(*socket);
                }
            })?;
        }
    }
    Ok(sockets)
}

/// What is one row: one port of one transport in one state, held by the same processes.
type Key = (u16, Transport, bool, Vec<u32>, Option<u64>);

/// One row for a program's sockets on one port, whatever their addresses and families.
fn merge(
    sockets: &[SocketInfo],
    owners: &SocketOwners,
    describe: impl Fn(u32) -> Option<process::Process>,
) -> Vec<PortRow> {
    let mut known: BTreeMap<u32, Option<Process>> = BTreeMap::new();
    let mut rows: BTreeMap<Key, PortRow> = BTreeMap::new();
    for socket in sockets {
        let (pids, unknown) = match owners.owner(socket.inode) {
            Owner::Processes(pids) => (pids.to_vec(), None),
            Owner::NoPermission => (Vec::new(), Some(Unknown::NoPermission)),
            Owner::Nobody => (Vec::new(), None),
        };
        let row = row(socket, unknown);
        // Sockets whose holders are unknown may have different ones.
        let apart = pids.is_empty().then_some(socket.inode);
        let merged = rows.entry((row.port, row.transport, row.listening, pids.clone(), apart)).or_insert_with(|| {
            let mut look = |pid: &u32| known.entry(*pid).or_insert_with(|| describe(*pid).map(process)).clone();
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
    let port = socket.local.port();
    let address = socket.local.ip();
    let dual_stack = socket.family == Family::V6 && address.is_unspecified() && !socket.v6only;
    let also_v4 = dual_stack.then_some(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let (transport, registered_for) = match socket.transport {
        HostTransport::Tcp => (Transport::Tcp, minato_ports::Transport::Tcp),
        HostTransport::Udp => (Transport::Udp, minato_ports::Transport::Udp),
    };
    PortRow {
        host: None,
        addresses: std::iter::once(address.to_canonical()).chain(also_v4).collect(),
        dual_stack,
        port,
        transport,
        listening: transport == Transport::Udp || socket.state == State::Listen,
        class: match minato_ports::PortClass::of(port) {
            minato_ports::PortClass::WellKnown => PortClass::WellKnown,
            minato_ports::PortClass::Registered => PortClass::Registered,
            minato_ports::PortClass::Dynamic => PortClass::Dynamic,
        },
        registered: registry::lookup(port, registered_for).map(|service| service.name().to_owned()),
        processes: Vec::new(),
        process_unknown,
        forwarded_from: Vec::new(),
        accept_queue: accept_queue(socket),
        inode: socket.inode,
    }
}

fn accept_queue(socket: &SocketInfo) -> Option<AcceptQueue> {
    let listens = socket.transport == HostTransport::Tcp && socket.state == State::Listen;
    listens.then_some(AcceptQueue { waiting: socket.receive_queue, limit: socket.send_queue })
}

/// A process as the API shows it.
pub(crate) fn process(process: process::Process) -> Process {
    Process {
        pid: process.pid,
        parent: process.parent,
        name: process.name,
        command: process.command,
        cwd: process.cwd,
        uid: process.uid,
        age_seconds: process.age.as_secs_f64(),
    }
}

#[cfg(test)]
mod tests;
