//! Answers that hand a file descriptor over, or take one: HTTP/1.1 Upgrade (RFC 9110 §7.8), and then `SCM_RIGHTS` on the same
//! connection.
//!
//! After the engine has answered 101, the client sends one byte. Only then does the descriptor come, with the JSON text
//! `{}` beside it, so that it can't be swallowed by a read that was meant for the head of the answer. The connection
//! stays open for as long as what the descriptor belongs to exists. Where the client has the descriptor, the engine sends the
//! byte, for the same reason.

use std::future::Future;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade::downcast;
use minato_host::passing;
use minato_inspect::ProblemKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;

use super::reply::Refusal;
use crate::problem::{problem, with_fix};

/// What a client asks the connection to become.
const PROTOCOL: &str = "minato-descriptor";

/// A request that may be answered with a descriptor.
pub(super) struct Upgrade(OnUpgrade);

impl Upgrade {
    /// Refuses a request that does not ask for it.
    pub(super) fn of(mut request: Request) -> Result<Upgrade, Refusal> {
        let asked = asks(request.headers());
        match request.extensions_mut().remove::<OnUpgrade>().filter(|_| asked) {
            Some(upgrade) => Ok(Upgrade(upgrade)),
            None => {
                let status = StatusCode::UPGRADE_REQUIRED.as_u16();
                let refusal = problem(ProblemKind::Usage, "the answer is a file descriptor, for which nobody asked");
                let refusal = with_fix(refusal, format!("send 'Connection: upgrade' and 'Upgrade: {PROTOCOL}'"));
                Err(minato_inspect::Problem { status, ..refusal }.into())
            }
        }
    }

    /// The answer. The connection closes when `end` returns, or the client closes it.
    pub(super) fn hand_over(self, descriptor: OwnedFd, end: impl Future<Output = ()> + Send + 'static) -> Response {
        tokio::spawn(async move {
            let handed = async {
                let mut stream = self.stream().await?;
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
        switching()
    }

    /// The answer to a client that has a descriptor for us: after the head we send one byte, and then it comes. The
    /// connection closes when `take` has it.
    pub(super) fn take_over(self, take: impl FnOnce(OwnedFd) -> io::Result<()> + Send + 'static) -> Response {
        tokio::spawn(async move {
            let taken = async {
                let mut stream = self.stream().await?;
                stream.write_all(b".").await?;
                let message = receive(&stream).await?;
                let descriptor = message.and_then(|(_, descriptors)| descriptors.into_iter().next());
                // A program that could not be given a filter has none to hand over.
                descriptor.map_or(Ok(()), take)
            };
            let taken: io::Result<()> = taken.await;
            if let Err(error) = taken {
                tracing::warn!(%error, "a client's descriptor could not be taken over");
            }
        });
        switching()
    }

    /// The connection, once it speaks HTTP no more.
    async fn stream(self) -> io::Result<UnixStream> {
        let upgraded = self.0.await.map_err(io::Error::other)?;
        let parts = downcast::<TokioIo<UnixStream>>(upgraded)
            .map_err(|_| io::Error::other("the connection is not one of the API's socket"))?;
        // The client sends its byte after it has read the answer, so nothing was read ahead.
        Ok(parts.io.into_inner())
    }
}

fn switching() -> Response {
    let headers = [(header::CONNECTION, "upgrade"), (header::UPGRADE, PROTOCOL)];
    (StatusCode::SWITCHING_PROTOCOLS, headers, Body::empty()).into_response()
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

fn asks(headers: &HeaderMap) -> bool {
    let has = |name, token: &str| {
        let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case(token))
    };
    has(header::CONNECTION, "upgrade") && has(header::UPGRADE, PROTOCOL)
}
