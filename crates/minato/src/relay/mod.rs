//! `minato relay`: passes what comes to one address on to another, where a forward can't lead: between addresses of one
//! host, or of this machine.
//!
//! It is what `minato explain` has to offer for a service that is bound to too few addresses, and that nobody can start
//! again otherwise just now. Unlike a forward it needs no network, lives as long as the command, and shows the service its
//! own address instead of the client's.

mod datagrams;
mod streams;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use minato_engine::rows;
use minato_host::holder;
use minato_host::sockets::HoldError;
use minato_inspect::{Problem, ProblemKind};
use minato_ports::Transport;
use tokio::task::JoinSet;

use crate::commands::DONE;
use crate::failure::{Failure, code};
use crate::flags::argument;
use crate::machine;
use crate::terminal::Terminal;

/// What is passed on, and where to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Relay {
    /// The service.
    pub(crate) to: SocketAddr,
    /// TCP or UDP.
    pub(crate) transport: Transport,
    /// Where clients come.
    pub(crate) at: Vec<Entrance>,
}

/// An address at which clients come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Entrance {
    /// This one.
    At(SocketAddr),
    /// This port of both loopback addresses, as far as the machine has them.
    Loopback(u16),
}

impl Entrance {
    fn addresses(self) -> Vec<SocketAddr> {
        match self {
            Entrance::At(address) => vec![address],
            Entrance::Loopback(port) => [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()]
                .map(|address| SocketAddr::new(address, port))
                .into(),
        }
    }

    /// Whether what is sent to `to` comes here.
    pub(crate) fn is_reached_by(self, to: SocketAddr) -> bool {
        self.addresses().iter().any(|at| {
            let (own, other) = (at.ip().to_canonical(), to.ip().to_canonical());
            let any = own.is_unspecified() || (other.is_unspecified() && own.is_loopback());
            at.port() == to.port() && (own == other || (any && own.is_ipv4() == other.is_ipv4()))
        })
    }

    /// Whether it does without an address that the machine does not have.
    fn can_miss(self, address: SocketAddr) -> bool {
        matches!(self, Entrance::Loopback(_)) && address.is_ipv6()
    }
}

/// Relays until somebody ends it.
pub(crate) async fn relay(relay: &Relay, terminal: &Terminal) -> Result<u8, Failure> {
    match relay.transport {
        Transport::Tcp => streams::check(relay.to).await?,
        Transport::Udp => datagrams::check(relay.to)?,
    }
    // Each connection takes two descriptors. With fewer it works too, for fewer clients.
    let _ = minato_host::sockets::raise_file_limit();
    let (mut entrances, mut places) = (JoinSet::new(), Vec::new());
    for entrance in &relay.at {
        for address in entrance.addresses() {
            let opened = match relay.transport {
                Transport::Tcp => streams::open(address).map(|listener| {
                    entrances.spawn(streams::serve(listener, relay.to));
                }),
                Transport::Udp => datagrams::open(address).map(|socket| {
                    entrances.spawn(datagrams::serve(socket, relay.to, datagrams::IDLE));
                }),
            };
            match opened {
                Ok(()) => places.push(address.to_string()),
                Err(HoldError::NoSuchAddress(_)) if entrance.can_miss(address) => {}
                Err(error) => return Err(refused(address, relay.transport, error)),
            }
        }
    }
    terminal.warn(&format!(
        "{} is {}/{} now, until this command ends",
        places.join(" and "),
        relay.to,
        relay.transport
    ));
    while entrances.join_next().await.is_some() {}
    Ok(DONE)
}

/// Why clients can't come to an address.
fn refused(address: SocketAddr, transport: Transport, error: HoldError) -> Failure {
    match error {
        HoldError::InUse(_) => {
            let of_host = machine::transport(argument::transport(transport));
            let holders = holder::holders(of_host, address.ip(), address.port()).unwrap_or_default();
            Failure::from(Problem {
                kind: ProblemKind::Conflict,
                status: 409,
                title: format!("{address}/{transport} is in use"),
                holder: Some(Box::new(rows::holder(holders.first(), address, transport))),
                fixes: Vec::new(),
            })
        }
        HoldError::Privileged { first, .. } => {
            let setting = "net.ipv4.ip_unprivileged_port_start";
            Failure::new(code::PRIVILEGED, format!("{address} is privileged: {setting} is {first}"))
                .fix(format!("sudo sysctl {setting}={}", address.port()))
        }
        HoldError::NoSuchAddress(_) => {
            Failure::new(code::WRONG_ADDRESS, format!("{} is no address of this machine", address.ip()))
        }
        error @ (HoldError::FileLimit { .. } | HoldError::Io(_)) => {
            Failure::caused(format!("{address}/{transport} can't be had"), error)
        }
    }
}

#[cfg(test)]
mod tests;
