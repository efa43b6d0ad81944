//! Connections into hosts, kept for the next request of the same client.

use std::net::SocketAddr;
use std::sync::Mutex;

use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use minato_host::sync::lock;

use super::address::Destination;
use crate::client::{Client, RequestError};
use crate::runtime_dir::RuntimeDir;

/// Most connections that one client's connection keeps for later.
const KEPT: usize = 16;

/// The connections of one client.
#[derive(Debug)]
pub(super) struct Upstream {
    client: SocketAddr,
    idle: Mutex<Vec<(Destination, SendRequest<Incoming>)>>,
}

/// Why a request got no answer.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// There is no connection to the service.
    NotConnected(RequestError),
    /// The service gave no answer that is HTTP, or none at all.
    Broken(hyper::Error),
}

impl Upstream {
    pub(super) fn new(client: SocketAddr) -> Upstream {
        Upstream { client, idle: Mutex::default() }
    }

    /// Sends a request, over a connection that is there or a new one. `waits`: the client's requests come one after the
    /// other, so that the answer to the last one is about to be complete.
    pub(super) async fn send(
        &self,
        to: &Destination,
        mut request: Request<Incoming>,
        waits: bool,
    ) -> Result<Response<Incoming>, Unanswered> {
        while let Some(mut kept) = self.take(to, waits) {
            if kept.ready().await.is_err() {
                continue;
            }
            match kept.try_send_request(request).await {
                Ok(response) => {
                    self.keep(to, kept);
                    return Ok(response);
                }
                // The service had closed the connection; of this request it has seen nothing.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(Unanswered::Broken(error.into_error())),
                },
            }
        }
        let mut sender = self.connect(to).await?;
        let response = sender.send_request(request).await.map_err(Unanswered::Broken)?;
        self.keep(to, sender);
        Ok(response)
    }

    async fn connect(&self, to: &Destination) -> Result<SendRequest<Incoming>, Unanswered> {
        let client = Client::new(RuntimeDir::of(&to.network))
            .map_err(|failure| Unanswered::NotConnected(RequestError::Nonsense(failure.title)))?;
        let stream = client.dial(to.host.as_str(), to.port, self.client).await.map_err(Unanswered::NotConnected)?;
        let (sender, connection) = http1::handshake(stream).await.map_err(Unanswered::Broken)?;
        // It ends with its sender, or with the service; errors reach whoever waits for an answer.
        tokio::spawn(connection.with_upgrades());
        Ok(sender)
    }

    fn take(&self, to: &Destination, waits: bool) -> Option<SendRequest<Incoming>> {
        let mut idle = lock(&self.idle);
        idle.retain(|(_, sender)| !sender.is_closed());
        let place = idle.iter().position(|(other, sender)| other == to && (waits || sender.is_ready()))?;
        Some(idle.swap_remove(place).1)
    }

    fn keep(&self, to: &Destination, sender: SendRequest<Incoming>) {
        let mut idle = lock(&self.idle);
        if idle.len() < KEPT {
            idle.push((to.clone(), sender));
        }
    }
}
