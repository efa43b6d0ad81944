//! Connections to the engine: each request has its own, made when it is needed, or ahead while there is nothing else to do.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use minato_host::sync::lock;
use tokio::net::UnixStream;
use tokio::time::sleep;

use super::{Client, RequestError};

/// Connections that were made ahead. Whoever has them must not outlive the engine that they lead to.
#[derive(Clone, Debug, Default)]
pub(super) struct Ahead(Arc<Mutex<VecDeque<UnixStream>>>);

impl Ahead {
    fn take(&self) -> Option<UnixStream> {
        lock(&self.0).pop_front()
    }
}

impl Client {
    /// Up to `count` new connections.
    pub(super) async fn connections(&self, count: usize) -> Ahead {
        let mut made = VecDeque::new();
        while made.len() < count {
            // Whoever needs it later makes it, or is told why that is not possible.
            let Ok(stream) = self.connect_anew().await else { break };
            made.push_back(stream);
        }
        Ahead(Arc::new(Mutex::new(made)))
    }

    /// The same engine, whose next requests take these connections.
    pub(super) fn with(&self, ahead: Ahead) -> Client {
        Client { directory: self.directory.clone(), ahead }
    }

    /// A connection to an engine that runs, as far as that can be told.
    pub(super) async fn connect(&self) -> Result<UnixStream, RequestError> {
        let stream = match self.ahead.take() {
            Some(stream) => stream,
            None => self.connect_anew().await?,
        };
        let engine = stream.peer_cred().map_err(RequestError::Socket)?.pid();
        // The kernel has accepted in its place.
        if let Some(pid) = engine.and_then(|pid| u32::try_from(pid).ok())
            && stays_stopped(pid).await
        {
            return Err(RequestError::Stopped(pid));
        }
        Ok(stream)
    }

    pub(super) async fn connect_anew(&self) -> Result<UnixStream, RequestError> {
        let stream = UnixStream::connect(self.socket()).await.map_err(connect_error)?;
        let engine = stream.peer_cred().map_err(RequestError::Socket)?.uid();
        if engine != rustix::process::geteuid().as_raw() {
            let why = format!("what listens there belongs to user {engine}");
            return Err(RequestError::Socket(io::Error::new(io::ErrorKind::PermissionDenied, why)));
        }
        Ok(stream)
    }
}

/// Whether a process is stopped, and not just for a moment, as one is whose system calls are traced.
async fn stays_stopped(pid: u32) -> bool {
    for _ in 0..10 {
        if !minato_host::process::is_stopped(pid) {
            return false;
        }
        sleep(Duration::from_millis(50)).await;
    }
    true
}

fn connect_error(error: io::Error) -> RequestError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => RequestError::NotRunning,
        // It stopped listening before it had accepted.
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => RequestError::Gone(error.to_string()),
        _ => RequestError::Socket(error),
    }
}
