//! UDP: each client has a socket of its own towards the service, so that answers find their way back.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use minato_host::sockets::{HoldError, udp_bind};
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// How long a client may say nothing, and hear nothing, before it is forgotten (RFC 4787 §4.3 wants two minutes at least).
const IDLE: Duration = Duration::from_secs(120);
/// Most clients at once. Who comes too late is not heard until others are forgotten.
const MOST: usize = 4096;
/// Largest payload.
const LARGEST: usize = 65_535;

/// The clients of one entrance.
type Clients = Arc<Mutex<HashMap<SocketAddr, Arc<UdpSocket>>>>;

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
pub(super) async fn serve(entrance: UdpSocket, to: SocketAddr) {
    let (entrance, clients) = (Arc::new(entrance), Clients::default());
    let mut payload = vec![0; LARGEST];
    loop {
        // An error is one of an earlier answer, whose client has gone.
        let Ok((length, client)) = entrance.recv_from(&mut payload).await else { continue };
        let known = lock(&clients).get(&client).cloned();
        let outlet = match known {
            Some(outlet) => outlet,
            None if lock(&clients).len() >= MOST => continue,
            None => {
                let Ok(outlet) = open_outlet(to).await.map(Arc::new) else { continue };
                lock(&clients).insert(client, Arc::clone(&outlet));
                tokio::spawn(answer(client, Arc::clone(&outlet), Arc::clone(&entrance), Arc::clone(&clients)));
                outlet
            }
        };
        // What can't be sent is lost, as datagrams may be.
        let _ = outlet.send(&payload[..length]).await;
    }
}

async fn open_outlet(to: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let outlet = UdpSocket::bind((any, 0)).await?;
    outlet.connect(to).await?;
    Ok(outlet)
}

/// Gives a client the service's answers, until there are none any more.
async fn answer(client: SocketAddr, outlet: Arc<UdpSocket>, entrance: Arc<UdpSocket>, clients: Clients) {
    let mut payload = vec![0; LARGEST];
    // A refusal ends it too: the client may try again, and gets another socket.
    while let Ok(Ok(length)) = timeout(IDLE, outlet.recv(&mut payload)).await {
        let _ = entrance.send_to(&payload[..length], client).await;
    }
    lock(&clients).remove(&client);
}

/// A poisoned lock only means that another task panicked between two independent statements.
fn lock(clients: &Clients) -> std::sync::MutexGuard<'_, HashMap<SocketAddr, Arc<UdpSocket>>> {
    clients.lock().unwrap_or_else(PoisonError::into_inner)
}
