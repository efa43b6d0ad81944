//! `minato relay`: passes what comes to one address on to another, where a forward can't lead: between addresses of one
//! host, or of this machine.
//!
//! It is what `minato explain` has to offer for a service that is bound to too few addresses, and that nobody can start
//! again otherwise just now. Unlike a forward it needs no network, lives as long as the command, and shows the service its
//! own address instead of the client's.

mod datagrams;
mod streams;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use minato_engine::unheld;
use minato_host::sockets::HoldError;
use minato_ports::Transport;
use tokio::task::JoinSet;

use crate::commands::DONE;
use crate::failure::Failure;
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
    let instead = match error {
        HoldError::Privileged { first, .. } => {
            let other = SocketAddr::new(address.ip(), unheld::unprivileged(address.port(), first));
            Some(format!("use a port from {first} on: {other}"))
        }
        HoldError::NoSuchAddress(_) => Some("leave the address out for 127.0.0.1 and ::1".to_owned()),
        HoldError::InUse(_) | HoldError::FileLimit { .. } | HoldError::Io(_) => None,
    };
    instead.into_iter().fold(Failure::from(unheld::refused(address, transport, error)), Failure::fix)
}

#[cfg(test)]
mod tests;
