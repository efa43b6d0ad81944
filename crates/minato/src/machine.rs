//! This machine's own ports, seen the same way as a host's: sockets from the kernel's table, processes from `/proc`.

use std::io;

use minato_engine::rows;
use minato_host::process::{self, SocketOwners};
use minato_host::sock_diag::SockDiag;
use minato_inspect::PortRow;

pub(crate) use minato_engine::rows::process;

/// Who is bound where on this machine, by port and transport.
///
/// # Errors
/// The kernel's socket table can't be read.
pub(crate) fn ports() -> io::Result<Vec<PortRow>> {
    let sockets = rows::bound_sockets(&mut SockDiag::open()?)?;
    let owners = if sockets.is_empty() { SocketOwners::default() } else { SocketOwners::of_machine() };
    // The kernel has sockets of its own here.
    Ok(rows::merge(&sockets, &owners, None, process::describe))
}

#[cfg(test)]
mod tests;
