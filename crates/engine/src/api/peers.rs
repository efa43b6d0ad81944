//! Who may use the API: this engine's user, and root, who may do anything anyway.

use std::io;

use axum::serve::Listener;
use tokio::net::unix::SocketAddr;
use tokio::net::{UnixListener, UnixStream};

/// A listener that takes only connections of users who may use the API. The socket's mode keeps others away already;
/// this holds also where somebody has passed a directory or a descriptor on.
#[derive(Debug)]
pub(crate) struct Trusted(pub(crate) UnixListener);

impl Listener for Trusted {
    type Io = UnixStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (UnixStream, SocketAddr) {
        loop {
            let (stream, address) = Listener::accept(&mut self.0).await;
            match stream.peer_cred().map(|peer| peer.uid()) {
                Ok(user) if may_use(user) => return (stream, address),
                Ok(user) => tracing::warn!(user, "a connection of another user is refused"),
                Err(error) => tracing::warn!(%error, "a connection is refused: it can't be told whose it is"),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

fn may_use(user: u32) -> bool {
    user == 0 || user == rustix::process::geteuid().as_raw()
}
