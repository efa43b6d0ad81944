//! This machine's own ports, seen the same way as a host's: sockets from the kernel's table, processes from `/proc`.

use std::io;

use minato_engine::rows;
use minato_host::process::{self, SocketOwners};
use minato_host::sock_diag::SockDiag;
use minato_inspect::{PortRow, Transport};

pub(crate) use minato_engine::rows::process;

/// A transport as the kernel's tables have it.
pub(crate) fn transport(transport: Transport) -> minato_host::Transport {
    match transport {
        Transport::Tcp => minato_host::Transport::Tcp,
        Transport::Udp => minato_host::Transport::Udp,
    }
}

/// Who is bound where on this machine, by port and transport.
///
/// # Errors
/// The kernel's socket table can't be read.
pub(crate) fn ports() -> io::Result<Vec<PortRow>> {
    let sockets = rows::bound_sockets(&mut SockDiag::open()?)?;
    let owners = if sockets.is_empty() { SocketOwners::default() } else { SocketOwners::of_machine() };
    let now = process::since_boot();
    // The kernel has sockets of its own here.
    Ok(rows::merge(&sockets, &owners, None, |pid| process::describe_at(now, pid)))
}

#[cfg(test)]
mod tests;
