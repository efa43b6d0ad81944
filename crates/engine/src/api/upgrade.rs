//! Answers after which the connection speaks HTTP no more (RFC 9110 §7.8).

use std::io;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade::downcast;
use minato_inspect::ProblemKind;
use tokio::net::UnixStream;

use super::reply::Refusal;
use crate::problem::{problem, with_fix};

/// A request that asks for such an answer.
pub(super) struct Upgrade {
    protocol: &'static str,
    connection: OnUpgrade,
}

impl Upgrade {
    /// Refuses a request that does not ask for `protocol`. `what` is what the answer is.
    pub(super) fn of(mut request: Request, protocol: &'static str, what: &str) -> Result<Upgrade, Refusal> {
        let asked = asks(request.headers(), protocol);
        match request.extensions_mut().remove::<OnUpgrade>().filter(|_| asked) {
            Some(connection) => Ok(Upgrade { protocol, connection }),
            None => {
                let status = StatusCode::UPGRADE_REQUIRED.as_u16();
                let refusal = problem(ProblemKind::Usage, format!("the answer is {what}, for which nobody asked"));
                let refusal = with_fix(refusal, format!("send 'Connection: upgrade' and 'Upgrade: {protocol}'"));
                Err(minato_inspect::Problem { status, ..refusal }.into())
            }
        }
    }

    /// The answer, and the connection as it is when the answer has been sent.
    pub(super) fn accept(self) -> (Response, impl Future<Output = io::Result<UnixStream>>) {
        let headers = [(header::CONNECTION, "upgrade"), (header::UPGRADE, self.protocol)];
        let response = (StatusCode::SWITCHING_PROTOCOLS, headers, Body::empty()).into_response();
        (response, stream(self.connection))
    }
}

async fn stream(connection: OnUpgrade) -> io::Result<UnixStream> {
    let upgraded = connection.await.map_err(io::Error::other)?;
    let parts = downcast::<TokioIo<UnixStream>>(upgraded)
        .map_err(|_| io::Error::other("the connection is not one of the API's socket"))?;
    if parts.read_buf.is_empty() { Ok(parts.io.into_inner()) } else { Err(io::Error::other("the client did not wait")) }
}

fn asks(headers: &HeaderMap, protocol: &str) -> bool {
    let has = |name, token: &str| {
        let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case(token))
    };
    has(header::CONNECTION, "upgrade") && has(header::UPGRADE, protocol)
}
