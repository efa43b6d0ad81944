//! The proxy's port on both loopback addresses.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use minato_host::Transport;
use minato_host::holder::{self, HolderProcesses};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use crate::failure::{Failure, code};

/// As which process the proxy is known.
pub(crate) const PROCESS: &str = "minato-proxy";

/// Who has the port.
pub(super) enum Taken {
    /// A proxy of this user, with this process ID.
    ByOurs(u32),
    /// A proxy of another user, or what may be one.
    ByOthers(Box<Failure>),
    /// Another program, or it can't be had at all.
    Otherwise(Box<Failure>),
}

/// How long another user's proxy is waited for: it ends a second after the last network of that user.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(50);

/// As [`listen`], but waits a little for a proxy of another user, which may be just ending.
pub(super) async fn listen_soon(port: u16) -> Result<Vec<TcpListener>, Taken> {
    let started = Instant::now();
    loop {
        match listen(port) {
            Err(Taken::ByOthers(_)) if started.elapsed() < PATIENCE => sleep(PAUSE).await,
            outcome => return outcome,
        }
    }
}

/// Listens on 127.0.0.1 and, if the machine has it, on ::1.
pub(super) fn listen(port: u16) -> Result<Vec<TcpListener>, Taken> {
    let mut listeners = Vec::new();
    for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        match bind(SocketAddr::new(address, port)) {
            Ok(listener) => listeners.push(listener),
            Err(error) if address.is_ipv6() && lacks_address(&error) => {}
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(taken(address, port)),
            Err(error) => {
                let title = format!("the proxy can't listen at {}", SocketAddr::new(address, port));
                return Err(Taken::Otherwise(Box::new(Failure::caused(title, error).fix(ANOTHER))));
            }
        }
    }
    Ok(listeners)
}

/// Whether the machine has no such address, or its kernel none of that family.
fn lacks_address(error: &io::Error) -> bool {
    let no_family = Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error());
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == no_family
}

const ANOTHER: &str = "MINATO_PROXY_PORT=PORT minato proxy    # another port";

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

fn taken(address: IpAddr, port: u16) -> Taken {
    let holders = holder::holders(Transport::Tcp, address, port).unwrap_or_default();
    let own = rustix::process::geteuid().as_raw();
    let (mut who, mut is_proxy) = (Vec::new(), false);
    for holder in &holders {
        match &holder.processes {
            HolderProcesses::Known(processes) => {
                for process in processes {
                    if process.name == PROCESS && process.uid == own {
                        return Taken::ByOurs(process.pid);
                    }
                    is_proxy |= process.name == PROCESS;
                    who.push(format!("{} is held by {} (pid {})", holder.local, process.name, process.pid));
                }
            }
            HolderProcesses::NoPermission => {
                is_proxy = true;
                who.push(format!("{} is held by a process of user {}", holder.local, holder.uid));
            }
            HolderProcesses::Nobody => {}
        }
    }
    let title = format!("the proxy can't start: {} is in use", SocketAddr::new(address, port));
    let failure = who.into_iter().fold(Failure::new(code::CONFLICT, title), Failure::detail);
    let failure = Box::new(failure.fix(ANOTHER));
    if is_proxy { Taken::ByOthers(failure) } else { Taken::Otherwise(failure) }
}
