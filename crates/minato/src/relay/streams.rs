//! TCP.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use minato_host::sockets::{HeldPort, HoldError};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::failure::{Failure, code};

/// Connections that may wait for us.
const BACKLOG: u32 = 1024;
/// How long the service may take to accept one.
const PATIENCE: Duration = Duration::from_secs(10);

/// Fails unless the service accepts: who is refused there should not be let in here.
pub(super) async fn check(to: SocketAddr) -> Result<(), Failure> {
    connect(to).await.map(drop).map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            Failure::new(code::NOTHING, format!("nothing listens on {to}, to which it is to be relayed"))
        }
        _ => Failure::caused(format!("{to}, to which it is to be relayed, can't be reached"), error),
    })
}

/// Takes the port, and listens.
pub(super) fn open(address: SocketAddr) -> Result<TcpListener, HoldError> {
    let port = HeldPort::hold(address)?;
    let listen = || -> io::Result<TcpListener> {
        port.listen(BACKLOG)?;
        TcpListener::from_std(port.as_fd().try_clone_to_owned()?.into())
    };
    listen().map_err(HoldError::Io)
}

/// Passes connections on, for ever.
pub(super) async fn serve(listener: TcpListener, to: SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                tokio::spawn(pass_on(client, to));
            }
            // Out of descriptors, or a connection that has died meanwhile: there may be room later.
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

/// One connection to its end, each direction for itself. An error of one end becomes a reset of the other.
async fn pass_on(mut client: TcpStream, to: SocketAddr) {
    match connect(to).await {
        Ok(mut service) => {
            let _ = (client.set_nodelay(true), service.set_nodelay(true));
            if copy_bidirectional(&mut client, &mut service).await.is_err() {
                // Half an answer shall not look like a whole one.
                let _ = (client.set_zero_linger(), service.set_zero_linger());
            }
        }
        // The service has gone since: nobody shall take this for a service that has nothing to say.
        Err(_) => {
            let _ = client.set_zero_linger();
        }
    }
}

async fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    timeout(PATIENCE, TcpStream::connect(to)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
