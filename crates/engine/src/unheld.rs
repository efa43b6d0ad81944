//! Why a port of this machine can't be held, as the user is told: by a forward, and by whatever else wants one.

use std::net::SocketAddr;

use minato_host::holder;
use minato_host::sockets::HoldError;
use minato_inspect::{Problem, ProblemKind};
use minato_ports::Transport;

use crate::convert;
use crate::problem::{problem, with_fix};
use crate::rows;

/// What to do where the limit of open files is reached.
pub(crate) const MORE_FILES: &str =
    "raise the hard limit of open files: as root, ulimit -Hn 65536 in the shell that starts the network";

/// What the machine's kernel said, with whoever is in the way and what helps whatever the port was wanted for.
pub fn refused(address: SocketAddr, transport: Transport, error: HoldError) -> Problem {
    match error {
        HoldError::InUse(_) => in_use(address, transport),
        HoldError::Privileged { first, .. } => {
            let setting = "net.ipv4.ip_unprivileged_port_start";
            let title = format!("{address} is privileged: this machine's {setting} is {first}");
            with_fix(problem(ProblemKind::Privileged, title), format!("sudo sysctl {setting}={}", address.port()))
        }
        HoldError::NoSuchAddress(_) => {
            problem(ProblemKind::WrongAddress, format!("{} is no address of this machine", address.ip()))
        }
        HoldError::FileLimit { limit } => {
            let title = format!("{address}/{transport} can't be held: the limit of open files ({limit}) is reached");
            with_fix(problem(ProblemKind::Exhausted, title), MORE_FILES)
        }
        HoldError::Io(error) => problem(ProblemKind::Internal, format!("{address}/{transport} can't be held: {error}")),
    }
}

/// A port that everybody may hold, to be used instead of a privileged one: `first` is the lowest of them.
pub fn unprivileged(port: u16, first: u16) -> u16 {
    u16::try_from(u32::from(port) + 8000).unwrap_or(8080).max(first)
}

/// A socket of another program has it.
fn in_use(address: SocketAddr, transport: Transport) -> Problem {
    let found = holder::holders(convert::to_host(transport), address.ip(), address.port());
    let first = found.ok().and_then(|holders| holders.into_iter().next());
    let holder = rows::holder(first.as_ref(), address, transport);
    let title = match first.and_then(|holder| holder.remote) {
        Some(remote) => format!("{address}/{transport} is in use by a connection to {remote}"),
        None => format!("{address}/{transport} is in use"),
    };
    Problem { holder: Some(Box::new(holder)), ..problem(ProblemKind::Conflict, title) }
}
