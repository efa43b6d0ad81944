//! Takes a file descriptor from the engine, or gives it one: the connection is upgraded, and carries it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use hyper::Method;
use hyper_util::rt::TokioIo;
use minato_host::passing;
use minato_inspect::SessionId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::{Client, RequestError};

/// The protocol that the connection is upgraded to.
const PROTOCOL: &str = "minato-descriptor";

/// A descriptor from the engine, with the connection that stays open for as long as what it belongs to is there.
#[derive(Debug)]
pub(crate) struct Lent {
    /// The descriptor.
    pub(crate) descriptor: OwnedFd,
    /// The connection.
    pub(crate) until: Until,
}

/// Tells when what a descriptor belongs to is gone.
#[derive(Debug)]
pub(crate) struct Until(UnixStream);

impl Until {
    /// Returns when it is gone. May be cancelled and called again.
    pub(crate) async fn gone(&mut self) {
        let mut nothing = [0; 64];
        while self.0.read(&mut nothing).await.is_ok_and(|length| length > 0) {}
    }
}

impl Client {
    /// A packet socket of a host.
    pub(crate) async fn packet_socket(&self, host: &str) -> Result<Lent, RequestError> {
        let (stream, _) = self.carrier(Method::GET, &format!("/v1/hosts/{host}/packets")).await?;
        receive(stream).await.map_err(RequestError::Socket)
    }

    /// A place to which the binds of a session's program can be handed; `sole` if it starts no other.
    pub(super) async fn bind_taker(&self, session: SessionId, sole: bool) -> Result<BindTaker, RequestError> {
        let path = format!("/v1/sessions/{}/binds?sole={sole}", session.0);
        let (mut stream, mut early) = self.carrier(Method::POST, &path).await?;
        if early.is_empty() {
            early = vec![0];
            stream.read_exact(&mut early).await.map_err(RequestError::Socket)?;
        }
        Ok(BindTaker(stream))
    }

    /// Turns a connection into one that carries descriptors. What had come behind the answer's head is with it.
    async fn carrier(&self, method: Method, path: &str) -> Result<(UnixStream, Vec<u8>), RequestError> {
        let parts = self
            .upgrade(method, path, PROTOCOL)
            .await?
            .downcast::<TokioIo<UnixStream>>()
            .map_err(|_| RequestError::Nonsense("the connection was exchanged".into()))?;
        Ok((parts.io.into_inner(), parts.read_buf.to_vec()))
    }
}

/// Where the binds of a program go.
#[derive(Debug)]
pub(crate) struct BindTaker(UnixStream);

impl BindTaker {
    /// Hands them over. The engine serves them from then on, longer than this process, if need be.
    pub(crate) fn take(self, listener: &OwnedFd) -> io::Result<()> {
        passing::send(self.0.as_fd(), &serde_json::json!({}), &[listener.as_fd()])
    }
}

async fn receive(mut stream: UnixStream) -> io::Result<Lent> {
    // The engine waits for this, so that no earlier read can have swallowed the descriptor.
    stream.write_all(b".").await?;
    let message = loop {
        stream.readable().await?;
        let received =
            stream.try_io(tokio::io::Interest::READABLE, || passing::receive::<serde_json::Value>(stream.as_fd()));
        match received {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            received => break received?,
        }
    };
    let descriptor = message.and_then(|(_, descriptors)| descriptors.into_iter().next());
    let descriptor = descriptor.ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(Lent { descriptor, until: Until(stream) })
}
