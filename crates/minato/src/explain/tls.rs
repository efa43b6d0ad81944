//! Whether a server speaks TLS: the beginning of a handshake, and no more. Whom its certificate is from is not looked at.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::proxy::HANDSHAKE;

const PATIENCE: Duration = Duration::from_secs(2);

/// Whether it answers as a server that has a certificate for the name; `None` without an answer.
pub(super) fn is_spoken(destination: SocketAddr, name: &str) -> Option<bool> {
    let nobody = RootCertStore::empty();
    let configuration = ClientConfig::builder().with_root_certificates(nobody).with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).ok()?;
    let mut client = ClientConnection::new(Arc::new(configuration), name).ok()?;
    let mut stream = TcpStream::connect_timeout(&destination, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    client.write_tls(&mut stream).ok()?;
    let mut first = [0];
    match stream.read_exact(&mut first) {
        Ok(()) => Some(first[0] == HANDSHAKE),
        // Whoever knows nothing of TLS may just close.
        Err(error) => (error.kind() == io::ErrorKind::UnexpectedEof).then_some(false),
    }
}
