//! A UDP socket.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use minato_transport::SocketId;

use crate::error::{of_bind, of_send};
use crate::network::{Network, Socket, random};

/// Datagrams at an address and port of the network.
#[derive(Debug)]
pub struct UdpSocket {
    network: Network,
    id: SocketId,
    local: SocketAddr,
}

impl UdpSocket {
    /// Binds to `local`; an unspecified address means all of the network's of its family, port 0 a free ephemeral one.
    ///
    /// # Errors
    /// `AddrInUse` if the port is taken, naming by whom; `AddrNotAvailable` for a foreign address.
    pub fn bind(network: &Network, local: SocketAddr) -> io::Result<UdpSocket> {
        let mut state = network.lock();
        state.check()?;
        let id = state.act(|stack, _| stack.bind_datagram(local, random())).map_err(of_bind)?;
        let local = state.stack.datagram_address(id).unwrap_or(local);
        state.sockets.insert(id, Socket::new(local));
        drop(state);
        Ok(UdpSocket { network: network.clone(), id, local })
    }

    /// Names the peer: where `send` sends to, and whose datagrams alone arrive. When an ICMP error says that it is not
    /// there, the next call fails: with `ConnectionRefused` if nothing is bound to its port.
    pub fn connect(&self, remote: SocketAddr) {
        // ICMP errors name an IPv4 peer as such, also one that is given as an IPv4-mapped address.
        let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
        let mut state = self.network.lock();
        if let Some(socket) = state.sockets.get_mut(&self.id) {
            (socket.peer, socket.failed) = (Some(remote), None);
        }
        state.act(|stack, _| stack.connect_datagram(self.id, Some(remote)));
    }

    /// Sends to the peer. What finds no room is lost, as datagrams may be.
    ///
    /// # Errors
    /// `NotConnected` without a peer, `InvalidInput` if it is too large, `NetworkUnreachable` without a route,
    /// `ConnectionRefused` or another if the peer has turned an earlier datagram away.
    pub fn send(&self, payload: &[u8]) -> io::Result<usize> {
        self.transmit(payload, None)
    }

    /// Sends to `destination`.
    ///
    /// # Errors
    /// As `send`.
    pub fn send_to(&self, payload: &[u8], destination: SocketAddr) -> io::Result<usize> {
        self.transmit(payload, Some(destination))
    }

    fn transmit(&self, payload: &[u8], destination: Option<SocketAddr>) -> io::Result<usize> {
        let mut state = self.network.lock();
        state.check_socket(self.id)?;
        let sent = state.act(|stack, now| stack.send_bound(now, self.id, destination, payload));
        match sent.map_err(of_send) {
            Ok(()) => Ok(payload.len()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(payload.len()),
            Err(error) => Err(error),
        }
    }

    /// The next datagram, cut to the length of `buffer`, and who sent it.
    ///
    /// # Errors
    /// When the network ended, or the peer has turned an earlier datagram away.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        poll_fn(|cx| self.poll_recv_from(cx, buffer)).await
    }

    /// The next datagram.
    ///
    /// # Errors
    /// When the network ended, or the peer has turned an earlier datagram away.
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.recv_from(buffer).await?.0)
    }

    fn poll_recv_from(&self, cx: &Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>> {
        let mut state = self.network.lock();
        state.check_socket(self.id)?;
        if let Some(datagram) = state.stack.receive_bound(self.id) {
            let count = datagram.payload.len().min(buffer.len());
            buffer[..count].copy_from_slice(&datagram.payload[..count]);
            return Poll::Ready(Ok((count, datagram.source)));
        }
        if let Some(socket) = state.sockets.get_mut(&self.id) {
            socket.wakers.add(cx.waker());
        }
        Poll::Pending
    }

    /// Where it is bound.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

impl Drop for UdpSocket {
    fn drop(&mut self) {
        let mut state = self.network.lock();
        state.sockets.remove(&self.id);
        state.act(|stack, _| stack.unbind_datagram(self.id));
    }
}
