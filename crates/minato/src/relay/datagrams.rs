//! UDP: each client has a socket of its own towards the service, so that answers find their way back.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use minato_host::holder;
use minato_host::sockets::{HoldError, udp_bind};
use minato_host::sync::lock;
use tokio::net::UdpSocket;
use tokio::time::timeout_at;

use crate::failure::{Failure, code};

/// How long a client may say nothing, and hear nothing, before it is forgotten (RFC 4787 §4.3 wants two minutes at least).
pub(super) const IDLE: Duration = Duration::from_secs(120);
/// Most clients at once. Who comes too late is not heard until others are forgotten.
const MOST: usize = 4096;
/// Largest payload.
const LARGEST: usize = 65_535;

/// The clients of one entrance.
type Clients = Arc<Mutex<HashMap<SocketAddr, Arc<Client>>>>;

/// Somebody who has said something.
#[derive(Debug)]
struct Client {
    /// Towards the service.
    outlet: UdpSocket,
    /// When it said something last: RFC 4787 §4.3, REQ-6: who only speaks is not forgotten either.
    spoke: Mutex<Instant>,
}

/// Fails if the service's address is one of this machine, and nobody has the port there. Elsewhere it can't be told: a datagram
/// that nobody answers says nothing.
pub(super) fn check(to: SocketAddr) -> Result<(), Failure> {
    let place = SocketAddr::new(reached(to.ip()), to.port());
    if udp_bind(SocketAddr::new(place.ip(), 0)).is_err() {
        return Ok(());
    }
    match holder::holders(minato_host::Transport::Udp, place.ip(), place.port()) {
        Ok(holders) if holders.iter().all(|holder| holder.remote.is_some()) => {
            Err(Failure::new(code::NOTHING, format!("nothing is bound to {to}/udp, to which it is to be relayed")))
        }
        _ => Ok(()),
    }
}

/// Where what is sent to an address goes: the unspecified one stands for the machine itself.
fn reached(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
}

/// Takes the port.
pub(super) fn open(address: SocketAddr) -> Result<UdpSocket, HoldError> {
    if address.ip().is_unspecified() {
        // The kernel would choose the address that answers come from, and not always the one that was asked.
        return Err(HoldError::Io(io::Error::new(
            io::ErrorKind::InvalidInput,
            "UDP needs an address, and not all of them",
        )));
    }
    UdpSocket::from_std(udp_bind(address)?.into()).map_err(HoldError::Io)
}

/// Passes datagrams on, for ever.
pub(super) async fn serve(entrance: UdpSocket, to: SocketAddr, idle: Duration) {
    let (entrance, clients) = (Arc::new(entrance), Clients::default());
    let mut payload = vec![0; LARGEST];
    loop {
        // An error is one of an earlier answer, whose client has gone.
        let Ok((length, address)) = entrance.recv_from(&mut payload).await else { continue };
        let known = lock(&clients).get(&address).cloned();
        let client = match known {
            Some(client) => client,
            None if lock(&clients).len() >= MOST => continue,
            None => {
                let Ok(client) = Client::open(to).await.map(Arc::new) else { continue };
                lock(&clients).insert(address, Arc::clone(&client));
                let (own, entrance, clients) = (Arc::clone(&client), Arc::clone(&entrance), Arc::clone(&clients));
                tokio::spawn(async move {
                    own.answer(address, &entrance, idle).await;
                    lock(&clients).remove(&address);
                });
                client
            }
        };
        *lock(&client.spoke) = Instant::now();
        // What can't be sent is lost, as datagrams may be.
        let _ = client.outlet.send(&payload[..length]).await;
    }
}

impl Client {
    async fn open(to: SocketAddr) -> io::Result<Client> {
        let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let outlet = UdpSocket::bind((any, 0)).await?;
        outlet.connect(to).await?;
        Ok(Client { outlet, spoke: Mutex::new(Instant::now()) })
    }

    /// Gives it the service's answers, until neither says anything any more.
    async fn answer(&self, address: SocketAddr, entrance: &UdpSocket, idle: Duration) {
        let mut payload = vec![0; LARGEST];
        let mut last = Instant::now();
        loop {
            match timeout_at((last + idle).into(), self.outlet.recv(&mut payload)).await {
                Ok(Ok(length)) => {
                    let _ = entrance.send_to(&payload[..length], address).await;
                    last = Instant::now();
                }
                // A refusal ends it too: the client may try again, and gets another socket.
                Ok(Err(_)) => return,
                Err(_) => {
                    let spoke = *lock(&self.spoke);
                    if spoke <= last {
                        return;
                    }
                    last = spoke;
                }
            }
        }
    }
}
