//! Who holds a port of this machine.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use crate::{Transport, process::Process, sock_diag::State};

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
/// the same address or a wildcard, of the same family or dual-stack. Listeners come first, then bound sockets, then connections.
///
/// # Errors
/// The socket table can't be read.
pub fn holders(transport: Transport, address: IpAddr, port: u16) -> io::Result<Vec<Holder>> {
    let _ = (transport, address, port);
    unimplemented!()
}
