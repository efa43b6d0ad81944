//! Who is bound where, in every host.

use std::sync::Arc;

use minato_host::process::{self, SocketOwners};
use minato_host::sock_diag::SocketInfo;
use minato_host::sync::lock;
use minato_inspect::{Forward, ForwardState, PortRow, Problem, Unknown};

use super::{Control, Inside, blocking};
use crate::plane::Command;
use crate::rows;

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
            let bound: Vec<Vec<SocketInfo>> = running.iter().map(|(_, inside)| bound(inside)).collect();
            // Processes after sockets: whoever holds one of these is there, unless it has ended meanwhile.
            let pids = process::by_network();
            let pids_of = |inside: &Inside| pids.get(&inside.network_inode).map_or(&[][..], Vec::as_slice);
            let with = running.iter().zip(&bound);
            with.flat_map(|((host, inside), sockets)| rows(host, sockets, pids_of(inside), &forwards)).collect()
        })
        .await
    }
}

/// The bound sockets of one host.
fn bound(inside: &Inside) -> Vec<SocketInfo> {
    let mut table = lock(&inside.sockets);
    rows::bound_sockets(&mut table).unwrap_or_else(|error| {
        tracing::warn!(%error, "can't read a host's socket table");
        Vec::new()
    })
}

/// The rows of one host.
fn rows(host: &str, sockets: &[SocketInfo], pids: &[u32], forwards: &[Forward]) -> Vec<PortRow> {
    let mut rows = rows::merge(sockets, &SocketOwners::of(pids), Some(Unknown::Vanished), process::describe);
    for row in &mut rows {
        let leads_here = |forward: &&Forward| {
            forward.host == host
                && (forward.service_port, forward.transport) == (row.port, row.transport)
                && forward.state != ForwardState::OtherFamily
        };
        row.forwarded_from = forwards.iter().filter(leads_here).cloned().collect();
        row.host = Some(host.to_owned());
    }
    rows
}
