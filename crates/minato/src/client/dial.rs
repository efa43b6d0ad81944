//! A connection to a service of a host: the connection to the engine becomes it.

use std::net::SocketAddr;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, StatusCode, header};

use super::{Client, RequestError};

impl Client {
    /// Connects to a service at `port`, or at the port that is most likely a web server's. What is shown as the other end
    /// is `from`.
    pub(crate) async fn dial(&self, host: &str, port: Option<u16>, from: SocketAddr) -> Result<Upgraded, RequestError> {
        let port = port.map(|port| format!("&port={port}")).unwrap_or_default();
        self.upgrade(Method::POST, &format!("/v1/hosts/{host}/dial?client={from}{port}"), "tcp").await
    }

    /// Sends a request after whose answer the connection speaks `protocol` and not HTTP.
    pub(super) async fn upgrade(
        &self,
        method: Method,
        path: &str,
        protocol: &'static str,
    ) -> Result<Upgraded, RequestError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "minato")
            .header(header::CONNECTION, "upgrade")
            .header(header::UPGRADE, protocol)
            .body(Full::new(Bytes::new()))
            .map_err(|error| RequestError::Nonsense(error.to_string()))?;
        let exchange = self.exchange(request).await?;
        if exchange.response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(exchange.refusal().await);
        }
        hyper::upgrade::on(exchange.response).await.map_err(|error| RequestError::Gone(error.to_string()))
    }
}
