//! A listening socket.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use minato_transport::ListenerId;

use crate::error::of_listen;
use crate::network::{Network, Wakers};
use crate::stream::TcpStream;

/// Complete connections that wait for `accept` at most, as tokio's listeners have it.
const BACKLOG: usize = 1024;

/// Takes connections at an address and port of the network. Dropping it frees the port and resets whoever was not accepted.
#[derive(Debug)]
pub struct TcpListener {
    network: Network,
    id: ListenerId,
    local: SocketAddr,
}

impl TcpListener {
    /// Listens on `local`; an unspecified address means all of the network's of its family.
    ///
    /// # Errors
    /// `AddrInUse` if the port is taken, naming by whom; `AddrNotAvailable` for port 0 or a foreign address.
    pub fn bind(network: &Network, local: SocketAddr) -> io::Result<TcpListener> {
        let mut state = network.lock();
        state.check()?;
        let id = state.act(|stack, _| stack.listen(local, BACKLOG)).map_err(of_listen)?;
        state.listeners.insert(id, Wakers::default());
        drop(state);
        Ok(TcpListener { network: network.clone(), id, local })
    }

    /// The next connection, and who made it.
    ///
    /// # Errors
    /// When the network ended.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// As `accept`; several tasks may wait.
    ///
    /// # Errors
    /// When the network ended.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        let mut state = self.network.lock();
        state.check()?;
        let accepted = state.act(|stack, _| stack.accept(self.id).and_then(|id| Some((id, stack.status(id)?))));
        if let Some((id, status)) = accepted {
            state.connections.insert(id, crate::network::Waiting { connected: true, ..Default::default() });
            drop(state);
            let stream = TcpStream::new(self.network.clone(), id, status.local, status.remote);
            return Poll::Ready(Ok((stream, status.remote)));
        }
        state.listeners.entry(self.id).or_default().add(cx.waker());
        Poll::Pending
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        let mut state = self.network.lock();
        state.listeners.remove(&self.id);
        state.act(|stack, now| stack.unlisten(now, self.id));
    }
}
