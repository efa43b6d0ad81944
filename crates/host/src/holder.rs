//! Who holds a port of this machine.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use crate::{
    Family, Transport, plain,
    process::{self, Owner, Process, SocketOwners},
    sock_diag::{Query, SockDiag, SocketInfo, State, States},
};

/// A socket in the way of a bind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// What it is bound to.
    pub local: SocketAddr,
    /// The remote end, when it is a connection (a client's ephemeral port holds a number too).
    pub remote: Option<SocketAddr>,
    /// Its state.
    pub state: State,
    /// Its owner.
    pub uid: u32,
    /// Its inode number.
    pub inode: u64,
    /// Whose it is.
    pub processes: HolderProcesses,
}

/// Whose a socket is, as far as can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HolderProcesses {
    /// These processes (never empty).
    Known(Vec<Process>),
    /// The caller may not see them.
    NoPermission,
    /// Nobody's: kernel, or a connection that lingers after its process.
    Nobody,
}

/// The sockets of the machine (the caller's network namespace) that hold `port` against a bind to `address`: those on
/// the same address or a wildcard, of the same family or dual-stack. Listeners come first, then bound sockets, then
/// connections. Kernels before 6.8 do not list TCP sockets that are bound and nothing else.
///
/// # Errors
/// The socket table can't be read.
pub fn holders(transport: Transport, address: IpAddr, port: u16) -> io::Result<Vec<Holder>> {
    let sockets = sockets(transport, address, port)?;
    let owners = if sockets.is_empty() { SocketOwners::default() } else { SocketOwners::of_machine() };
    Ok(sockets.iter().map(|socket| holder(socket, &owners)).collect())
}

/// As [`holders`], for a bind to all of these addresses, in the network namespace with the inode number `network`, whose
/// socket table this is.
///
/// # Errors
/// The socket table can't be read.
pub fn holders_inside(
    table: &mut SockDiag,
    network: u64,
    transport: Transport,
    addresses: &[IpAddr],
    port: u16,
) -> io::Result<Vec<Holder>> {
    let sockets = in_the_way(table, transport, addresses, port)?;
    let owners = SocketOwners::of(&process::in_network(network));
    Ok(sockets.iter().map(|socket| holder(socket, &owners)).collect())
}

/// The sockets of [`holders`], without their processes.
pub(crate) fn sockets(transport: Transport, address: IpAddr, port: u16) -> io::Result<Vec<SocketInfo>> {
    in_the_way(&mut SockDiag::open()?, transport, &[address], port)
}

fn in_the_way(
    table: &mut SockDiag,
    transport: Transport,
    addresses: &[IpAddr],
    port: u16,
) -> io::Result<Vec<SocketInfo>> {
    let mut sockets = Vec::new();
    for family in [Family::V4, Family::V6] {
        let query = Query { port: Some(port), ..Query::new(family, transport, States::ALL) };
        table.dump(query, |socket| {
            if socket.local.port() == port && addresses.iter().any(|address| is_in_the_way(socket, *address)) {
                sockets.push(*socket);
            }
        })?;
    }
    sockets.sort_by_key(|socket| match socket.state {
        State::Listen => 0,
        State::BoundInactive | State::Close => 1,
        _ => 2,
    });
    Ok(sockets)
}

/// Whether a socket on the same port keeps `address` from being bound, leaving `SO_REUSEADDR` aside.
fn is_in_the_way(socket: &SocketInfo, address: IpAddr) -> bool {
    let bound = socket.local.ip();
    if bound.is_unspecified() {
        let dual = socket.family == Family::V6 && !socket.v6only;
        return socket.family == Family::of(address) || dual;
    }
    let bound = bound.to_canonical();
    bound == address || (address.is_unspecified() && bound.is_ipv4() == address.is_ipv4())
}

fn holder(socket: &SocketInfo, owners: &SocketOwners) -> Holder {
    let processes = match owners.owner(socket.inode) {
        Owner::Processes(pids) => pids.iter().filter_map(|&pid| process::describe(pid)).collect(),
        Owner::NoPermission => return unnamed(socket, HolderProcesses::NoPermission),
        Owner::Nobody => Vec::new(),
    };
    // All may have ended since.
    let processes = if processes.is_empty() { HolderProcesses::Nobody } else { HolderProcesses::Known(processes) };
    unnamed(socket, processes)
}

fn unnamed(socket: &SocketInfo, processes: HolderProcesses) -> Holder {
    Holder {
        local: plain(socket.local),
        remote: (socket.remote.port() != 0).then(|| plain(socket.remote)),
        state: socket.state,
        uid: socket.uid,
        inode: socket.inode,
        processes,
    }
}

#[cfg(test)]
mod tests;
