//! Who on this machine is the client of a flow that came through a forward.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};

use minato_host::process::{self, Owner, SocketOwners};
use minato_host::sock_diag::{Query, SockDiag, State as SocketState, States};
use minato_host::{Family, Transport, routes};
use minato_inspect::{Flow, Unknown};

use crate::convert;

/// An end of a client, with the inode number of its socket once that was found.
type Ends = HashMap<(minato_inspect::Transport, SocketAddr), Option<u64>>;

/// Names the client processes of flows that came from this machine itself, or says why that can't be told.
pub(super) fn name(flows: &mut [Flow]) {
    let own: Vec<IpAddr> =
        routes::addresses().unwrap_or_default().into_iter().map(|interface| interface.address).collect();
    let mut here: Vec<&mut Flow> = flows
        .iter_mut()
        .filter(|flow| flow.via.is_some() && (flow.client.address.is_loopback() || own.contains(&flow.client.address)))
        .collect();
    if here.is_empty() {
        return;
    }
    let mut ends: Ends = here.iter().map(|flow| (end(flow), None)).collect();
    if let Err(error) = look(&mut ends) {
        return tracing::warn!(%error, "can't read this machine's socket table");
    }
    let owners = SocketOwners::of_machine();
    let mut described = HashMap::new();
    for flow in &mut here {
        let Some(inode) = ends.get(&end(flow)).copied().flatten() else { continue };
        match owners.owner(inode) {
            Owner::Processes(pids) => {
                let describe = |pid: u32| process::describe(pid).map(convert::process);
                let first = pids.first().copied().unwrap_or_default();
                flow.client.process = described.entry(first).or_insert_with(|| describe(first)).clone();
            }
            Owner::NoPermission => flow.client.process_unknown = Some(Unknown::NoPermission),
            // It has closed its socket, and the kernel goes on.
            Owner::Nobody => {}
        }
    }
}

fn end(flow: &Flow) -> (minato_inspect::Transport, SocketAddr) {
    (flow.transport, SocketAddr::new(flow.client.address, flow.client.port))
}

/// Finds the sockets of these ends. One that sends to anybody is bound to no address but a port.
fn look(ends: &mut Ends) -> io::Result<()> {
    let mut table = SockDiag::open()?;
    let udp = States::UNCONNECTED.union(States::of(SocketState::Established));
    for (transport, states) in [(Transport::Tcp, States::CONNECTED), (Transport::Udp, udp)] {
        let shown = convert::to_inspect(convert::from_host(transport));
        if !ends.keys().any(|(transport, _)| *transport == shown) {
            continue;
        }
        for family in [Family::V4, Family::V6] {
            table.dump(Query::new(family, transport, states), |socket| {
                let local = minato_host::plain(socket.local);
                if let Some(inode) = ends.get_mut(&(shown, local)) {
                    *inode = Some(socket.inode);
                } else if local.ip().is_unspecified() && transport == Transport::Udp {
                    let of_port = ends.iter_mut().filter(|((other, end), inode)| {
                        *other == shown && end.port() == local.port() && inode.is_none()
                    });
                    of_port.for_each(|(_, inode)| *inode = Some(socket.inode));
                }
            })?;
        }
    }
    Ok(())
}
