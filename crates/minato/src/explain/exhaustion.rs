//! Why there is no port left to connect from: which are taken towards one destination, and by whom.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;

use minato_host::process::{self, Owner, SocketOwners};
use minato_host::sock_diag::{Query, SockDiag, States};
use minato_host::{Family, Transport};
use serde::{Deserialize, Serialize};

/// Ephemeral ports that are used up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Exhaustion {
    /// First and last port that the kernel chooses from.
    pub(crate) range: (u16, u16),
    /// How many of them are taken towards the destination.
    pub(crate) used: usize,
    /// Who has most of them.
    pub(crate) top: Option<Consumer>,
}

/// A process that has many connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Consumer {
    /// Its ID.
    pub(crate) pid: u32,
    /// Its name.
    pub(crate) name: String,
    /// How many ports it has.
    pub(crate) ports: usize,
}

/// Looks at the ports of this network namespace. `None` when many are free, so that something else is the reason.
pub(super) fn look(destination: SocketAddr) -> io::Result<Option<Exhaustion>> {
    let range = ephemeral_range()?;
    let (mut ports, mut inodes) = (BTreeSet::new(), Vec::new());
    let mut table = SockDiag::open()?;
    for family in [Family::V4, Family::V6] {
        table.dump(Query::new(family, Transport::Tcp, States::ALL), |socket| {
            let there = minato_host::plain(socket.remote) == destination;
            let in_range = (range.0..=range.1).contains(&socket.local.port());
            if in_range && (there || socket.remote.port() == 0) {
                ports.insert(socket.local.port());
                inodes.push(socket.inode);
            }
        })?;
    }
    let size = usize::from(range.1.saturating_sub(range.0)) + 1;
    let used = ports.len();
    Ok((used * 2 > size).then(|| Exhaustion { range, used, top: top(&inodes) }))
}

fn top(inodes: &[u64]) -> Option<Consumer> {
    let owners = SocketOwners::of_machine();
    let mut ports: BTreeMap<u32, usize> = BTreeMap::new();
    for inode in inodes {
        if let Owner::Processes([pid, ..]) = owners.owner(*inode) {
            *ports.entry(*pid).or_default() += 1;
        }
    }
    let (pid, ports) = ports.into_iter().max_by_key(|(_, ports)| *ports)?;
    Some(Consumer { pid, name: process::describe(pid)?.name, ports })
}

fn ephemeral_range() -> io::Result<(u16, u16)> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")?;
    let mut numbers = text.split_ascii_whitespace().map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(first)), Some(Ok(last))) => Ok((first, last)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}
