//! Tells what policies have refused: with the process that tried, while it still waits for the answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use minato_host::Family;
use minato_host::process::{self, Owner, SocketOwners};
use minato_host::sock_diag::{Query, State as SocketState, States};
use minato_host::sync::lock;
use minato_inspect::{EgressRefusal, Happening, Process};
use minato_ports::Transport;

use super::{Control, Inside};
use crate::convert;
use crate::plane::{Command, Report};

impl Control {
    /// Tells of each refusal, until there is nobody any more to report one. Blocks.
    pub(crate) fn tell_of_refusals(self: &Arc<Self>, reports: &Receiver<Report>) {
        for Report { key, host, ends, mut refusal } in reports {
            let inside = self.state().inside_of(host);
            refusal.process = ends.zip(inside).and_then(|(ends, inside)| process_with(ends, &inside));
            // The program has waited for long enough.
            self.plane.send(Command::Refuse(key));
            log(&refusal);
            self.events.tell(|| Happening::EgressRefused(Box::new(refusal)));
        }
    }
}

/// The process inside a host whose socket has these ends.
fn process_with((transport, own, other): (Transport, SocketAddr, SocketAddr), inside: &Inside) -> Option<Process> {
    let states = match transport {
        Transport::Tcp => States::of(SocketState::SynSent).union(States::of(SocketState::Established)),
        Transport::Udp => States::UNCONNECTED.union(States::of(SocketState::Established)),
    };
    let mut inode = None;
    {
        let mut table = lock(&inside.sockets);
        for family in [Family::V4, Family::V6] {
            let query = Query::new(family, convert::to_host(transport), states);
            let result = table.dump(query, |socket| {
                let local = (socket.local.ip().to_canonical(), socket.local.port());
                let remote = (socket.remote.ip().to_canonical(), socket.remote.port());
                // A socket that sends to anybody has no other end, and may have no address.
                let is_own = local.1 == own.port() && (local.0 == own.ip() || local.0.is_unspecified());
                if is_own && (remote.1 == 0 || remote == (other.ip(), other.port())) {
                    inode = Some(socket.inode);
                }
            });
            if let Err(error) = result {
                tracing::warn!(%error, "can't read a host's socket table");
            }
        }
    }
    match SocketOwners::of(&process::in_network(inside.network_inode)).owner(inode?) {
        Owner::Processes(pids) => pids.first().and_then(|pid| process::describe(*pid)).map(convert::process),
        Owner::NoPermission | Owner::Nobody => None,
    }
}

fn log(refusal: &EgressRefusal) {
    let EgressRefusal { host, reason, untold, .. } = refusal;
    let process = refusal.process.as_ref().map_or("unknown", |process| &process.name);
    let pid = refusal.process.as_ref().map(|process| process.pid);
    let rule = refusal.rule.as_deref().unwrap_or("default");
    tracing::warn!(host, process, pid, rule, untold, "refused by policy: {reason}");
}
