//! A connection.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use minato_transport::{ConnectionId, ReceiveError, Stack};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::error::of_connect;
use crate::network::{Network, State, Waiting, random};
use crate::split::{OwnedReadHalf, OwnedWriteHalf};

/// A TCP connection. Dropping it closes both directions: what is written is still delivered; data that nobody read resets the
/// peer, as the kernel does.
#[derive(Debug)]
pub struct TcpStream {
    connection: Arc<Connection>,
}

/// What both halves of a stream have in common.
#[derive(Debug)]
pub(crate) struct Connection {
    network: Network,
    id: ConnectionId,
    local: SocketAddr,
    peer: SocketAddr,
}

impl TcpStream {
    pub(crate) fn new(network: Network, id: ConnectionId, local: SocketAddr, peer: SocketAddr) -> TcpStream {
        TcpStream { connection: Arc::new(Connection { network, id, local, peer }) }
    }

    /// Connects to `remote` from an own address and an ephemeral port.
    ///
    /// # Errors
    /// `ConnectionRefused`, `TimedOut`, `HostUnreachable` and `NetworkUnreachable` as the peer and the path have it;
    /// `AddrNotAvailable` if every ephemeral port is used towards this destination.
    pub async fn connect(network: &Network, remote: SocketAddr) -> io::Result<TcpStream> {
        TcpStream::open(network, None, remote).await
    }

    /// As `connect`, from `local`, whose port 0 means an ephemeral one.
    ///
    /// # Errors
    /// As `connect`; `AddrInUse` if the local port is held, naming by whom.
    pub async fn connect_from(network: &Network, local: SocketAddr, remote: SocketAddr) -> io::Result<TcpStream> {
        TcpStream::open(network, Some(local), remote).await
    }

    async fn open(network: &Network, local: Option<SocketAddr>, remote: SocketAddr) -> io::Result<TcpStream> {
        let stream = {
            let mut state = network.lock();
            state.check()?;
            let opened = state.act(|stack, now| {
                let id = stack.connect(now, local, remote, random())?;
                Ok((id, stack.status(id)))
            });
            let (id, status) = opened.map_err(of_connect)?;
            state.connections.insert(id, Waiting::default());
            drop(state);
            let status = status.ok_or(io::ErrorKind::ConnectionAborted)?;
            TcpStream::new(network.clone(), id, status.local, status.remote)
        };
        // Dropped here, it gives the attempt up.
        poll_fn(|cx| stream.connection.poll_connected(cx)).await?;
        Ok(stream)
    }

    /// Our end.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.connection.local
    }

    /// The other end.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.connection.peer
    }

    /// Turns Nagle's algorithm off (`true`) or on.
    pub fn set_nodelay(&self, nodelay: bool) {
        let id = self.connection.id;
        self.connection.network.with_stack(|stack, now| {
            stack.set_options(now, id, |options| options.nagle = !nodelay);
        });
    }

    /// The stack's snapshot of the connection; `None` once it is gone.
    #[must_use]
    pub fn status(&self) -> Option<minato_transport::tcp::Status> {
        self.connection.network.lock().stack.status(self.connection.id)
    }

    /// Two halves that may go to different tasks. Dropping the writing half ends that direction.
    #[must_use]
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        (OwnedReadHalf::new(Arc::clone(&self.connection)), OwnedWriteHalf::new(self.connection))
    }
}

impl Connection {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.network.lock()
    }

    fn poll_connected(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.lock();
        let connected = state.waiting(self.id)?.connected;
        if connected {
            return Poll::Ready(Ok(()));
        }
        state.waiting(self.id)?.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(crate) fn poll_read(&self, cx: &Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.lock();
        state.waiting(self.id)?;
        match state.act(|stack, now| stack.receive_into(now, self.id, buffer.initialize_unfilled())) {
            Ok(count) => {
                buffer.advance(count);
                Poll::Ready(Ok(()))
            }
            Err(ReceiveError::WouldBlock) => {
                state.waiting(self.id)?.reader = Some(cx.waker().clone());
                Poll::Pending
            }
            Err(ReceiveError::Gone) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }

    pub(crate) fn poll_write(&self, cx: &Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.lock();
        state.waiting(self.id)?;
        let count = state.act(|stack, now| stack.send(now, self.id, data));
        if count > 0 || data.is_empty() {
            return Poll::Ready(Ok(count));
        }
        if !may_send(&state.stack, self.id) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        state.waiting(self.id)?.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Our FIN follows what is queued.
    pub(crate) fn shutdown(&self) -> io::Result<()> {
        let mut state = self.lock();
        state.waiting(self.id)?;
        state.act(|stack, now| stack.shutdown(now, self.id));
        Ok(())
    }
}

/// Whether a full buffer is what holds data back, and not the end of the direction.
fn may_send(stack: &Stack, id: ConnectionId) -> bool {
    use minato_transport::tcp::State::{CloseWait, Established, SynReceived, SynSent};
    let state = stack.status(id).map(|status| status.state);
    matches!(state, Some(SynSent | SynReceived | Established | CloseWait))
}

impl State {
    /// Who waits for a connection, unless it or the network is gone. What became of the connection itself comes first.
    fn waiting(&mut self, id: ConnectionId) -> io::Result<&mut Waiting> {
        let ended = self.ended;
        let waiting = self.connections.get_mut(&id).ok_or(io::ErrorKind::NotConnected)?;
        match waiting.failed.or(ended) {
            Some(kind) => Err(kind.into()),
            None => Ok(waiting),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut state = self.lock();
        state.connections.remove(&self.id);
        state.act(|stack, now| stack.close(now, self.id));
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.connection.poll_read(cx, buffer)
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.connection.poll_write(cx, data)
    }

    /// What is written is sent without being asked for.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.connection.shutdown())
    }
}
