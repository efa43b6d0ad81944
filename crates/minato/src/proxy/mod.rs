//! `minato proxy`: every web service of every network of this user under a name of its own, on one port of this machine.
//!
//! `http://HOST.NET.localhost:7080/` leads to the host's web server, `http://PORT.HOST.NET.localhost:7080/` to another port
//! of it. Browsers take every name below `localhost` for this machine (RFC 6761 §6.3), and each name has its own cookies.
//! After `minato trust` it speaks TLS at the same port, `https://…:7080/`: a client's first byte tells.
//! [`address`] says what a name means, [`exchange`] passes requests on, [`upstream`] has the connections into hosts,
//! [`secure`] certificates.

mod address;
mod background;
mod directory;
mod exchange;
mod listen;
mod page;
mod secure;
mod upstream;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::commands::DONE;
use crate::failure::Failure;
use crate::flags::Name;
use crate::program;
use crate::terminal::Terminal;
pub(crate) use address::{Destination, Wanted};
pub(crate) use background::{ensure, serve_in_background};
use exchange::Connection;
pub(crate) use listen::PROCESS;
use listen::{Taken, listen};
pub(crate) use secure::HANDSHAKE;
use secure::Secure;

/// Where the proxy listens unless `MINATO_PROXY_PORT` says otherwise.
const PORT: u16 = 7080;
/// How long a client may take to begin, and again for TLS.
const PATIENCE: Duration = Duration::from_secs(30);

/// Serves until it is told to end.
pub(crate) async fn serve(terminal: &Terminal) -> Result<u8, Failure> {
    program::rename(PROCESS);
    let port = port()?;
    let listeners = match listen(port) {
        Ok(listeners) => listeners,
        Err(Taken::ByOurs(pid)) => {
            terminal.warn(&format!("a proxy of yours serves port {port} already (pid {pid})"));
            return Ok(DONE);
        }
        Err(Taken::ByOthers(failure) | Taken::Otherwise(failure)) => return Err(*failure),
    };
    let secure = Arc::new(Secure::default());
    let https = if secure.is_ready() { "http and https" } else { "`minato trust` adds https" };
    terminal.warn(&format!(
        "http://localhost:{port}/ lists what there is; a host is at http://HOST.NET.localhost:{port}/ ({https})"
    ));
    accept_all(listeners, &secure).await;
    Ok(DONE)
}

/// Where a service on this port of a host is reached through the proxy; `None` without a proxy.
pub(crate) fn url(network: &Name, host: &Name, port: u16) -> Option<String> {
    let proxy = self::port().ok()?;
    // The host's own name leads to port 80, if it listens.
    let label = if port == 80 { String::new() } else { format!("{port}.") };
    Some(format!("http://{label}{host}.{network}.localhost:{proxy}"))
}

/// The port that was asked for.
pub(crate) fn port() -> Result<u16, Failure> {
    let Some(text) = std::env::var_os("MINATO_PROXY_PORT") else { return Ok(PORT) };
    let parsed = text.to_str().and_then(|text| text.parse().ok()).filter(|port| *port != 0);
    parsed.ok_or_else(|| Failure::usage(format!("MINATO_PROXY_PORT={} is no port", text.to_string_lossy())))
}

/// Accepts on all of them, for ever.
async fn accept_all(listeners: Vec<TcpListener>, secure: &Arc<Secure>) {
    let accepting = |listener| tokio::spawn(accept(listener, Arc::clone(secure)));
    let tasks: Vec<_> = listeners.into_iter().map(accepting).collect();
    for task in tasks {
        let _ = task.await;
    }
}

async fn accept(listener: TcpListener, secure: Arc<Secure>) {
    loop {
        match listener.accept().await {
            Ok((stream, client)) => {
                let _ = stream.set_nodelay(true);
                tokio::spawn(attend(stream, client, Arc::clone(&secure)));
            }
            // Out of descriptors, or a connection that has died meanwhile: there may be room later.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Serves one connection to its end. Errors are the client's affair, which has gone or spoken nonsense.
async fn attend(stream: TcpStream, client: SocketAddr, secure: Arc<Secure>) {
    let port = stream.local_addr().map_or(PORT, |address| address.port());
    let mut first = [0];
    let Ok(Ok(1)) = timeout(PATIENCE, stream.peek(&mut first)).await else { return };
    if first[0] != HANDSHAKE {
        return converse(stream, Connection::new(client, ("http", port))).await;
    }
    if let Ok(Ok(stream)) = timeout(PATIENCE, secure.accept(stream)).await {
        converse(stream, Connection::new(client, ("https", port))).await;
    }
}

/// HTTP/1.1 or HTTP/2, as the client begins.
async fn converse<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, connection: Connection) {
    let connection = Arc::new(connection);
    let service = service_fn(move |request| Arc::clone(&connection).answer(request));
    let mut server = Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new());
    server.http2().timer(TokioTimer::new());
    let _ = server.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
}
