//! Who is bound where, in every host.

use std::sync::Arc;

use minato_host::process::{self, SocketOwners};
use minato_host::sync::lock;
use minato_inspect::{Forward, PortRow, Problem, Unknown};

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
            let mut pids = process::by_network();
            let mut pids_of = |inside: &Inside| pids.remove(&inside.network_inode).unwrap_or_default();
            running.iter().flat_map(|(host, inside)| rows(host, inside, &pids_of(inside), &forwards)).collect()
        })
        .await
    }
}

/// The rows of one host.
fn rows(host: &str, inside: &Inside, pids: &[u32], forwards: &[Forward]) -> Vec<PortRow> {
    let sockets = {
        let mut table = lock(&inside.sockets);
        rows::bound_sockets(&mut table).unwrap_or_else(|error| {
            tracing::warn!(%error, "can't read a host's socket table");
            Vec::new()
        })
    };
    let mut rows = rows::merge(&sockets, &SocketOwners::of(pids), Some(Unknown::Vanished), process::describe);
    for row in &mut rows {
        let leads_here = |forward: &&Forward| {
            forward.host == host && (forward.service_port, forward.transport) == (row.port, row.transport)
        };
        row.forwarded_from = forwards.iter().filter(leads_here).cloned().collect();
        row.host = Some(host.to_owned());
    }
    rows
}
