//! Answers that hand a file descriptor over, or take one: HTTP/1.1 Upgrade, and then `SCM_RIGHTS` on the same connection.
//!
//! After the engine has answered 101, the client sends one byte. Only then does the descriptor come, with the JSON text
//! `{}` beside it, so that it can't be swallowed by a read that was meant for the head of the answer. The connection
//! stays open for as long as what the descriptor belongs to exists. Where the client has the descriptor, the engine sends the
//! byte, for the same reason.

use std::future::Future;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use axum::extract::Request;
use axum::response::Response;
use minato_host::passing;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;

use super::reply::Refusal;
use super::upgrade::Upgrade;

/// What a client asks the connection to become.
const PROTOCOL: &str = "minato-descriptor";

/// Refuses a request that does not ask for a descriptor to be passed.
pub(super) fn asked(request: Request) -> Result<Upgrade, Refusal> {
    Upgrade::of(request, PROTOCOL, "a file descriptor")
}

/// The answer. The connection closes when `end` returns, or the client closes it.
pub(super) fn hand_over(
    upgrade: Upgrade,
    descriptor: OwnedFd,
    end: impl Future<Output = ()> + Send + 'static,
) -> Response {
    let (response, stream) = upgrade.accept();
    tokio::spawn(async move {
        let handed = async {
            let mut stream = stream.await?;
            let mut ready = [0];
            stream.read_exact(&mut ready).await?;
            passing::send(stream.as_fd(), &serde_json::json!({}), &[descriptor.as_fd()])?;
            // It keeps its namespace alive, which is the client's affair from now on.
            drop(descriptor);
            // Nothing more is expected but the end.
            stream.read(&mut ready).await.map(drop)
        };
        tokio::select! {
            result = handed => if let Err(error) = result {
                tracing::debug!(%error, "a client went away before its descriptor came");
            },
            () = end => {}
        }
    });
    response
}

/// The answer to a client that has a descriptor for us: after the head we send one byte, and then it comes. The
/// connection closes when `take` has it.
pub(super) fn take_over(
    upgrade: Upgrade,
    take: impl FnOnce(Option<OwnedFd>) -> io::Result<()> + Send + 'static,
) -> Response {
    let (response, stream) = upgrade.accept();
    tokio::spawn(async move {
        let taken = async {
            let mut stream = stream.await?;
            stream.write_all(b".").await?;
            let message = receive(&stream).await?;
            let descriptor = message.and_then(|(_, descriptors)| descriptors.into_iter().next());
            take(descriptor)
        };
        let taken: io::Result<()> = taken.await;
        if let Err(error) = taken {
            tracing::warn!(%error, "a client's descriptor could not be taken over");
        }
    });
    response
}

/// A message with descriptors; `None` when the client has gone.
async fn receive(stream: &UnixStream) -> io::Result<Option<(serde_json::Value, Vec<OwnedFd>)>> {
    loop {
        stream.readable().await?;
        match stream.try_io(Interest::READABLE, || passing::receive(stream.as_fd())) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            received => return received,
        }
    }
}
