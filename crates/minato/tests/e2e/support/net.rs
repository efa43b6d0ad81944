//! Clients of the test itself.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// A TCP connection with a limit on every wait.
pub(crate) fn connect(address: &str) -> std::io::Result<TcpStream> {
    let address: SocketAddr = address.parse().expect("ADDRESS:PORT");
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    Ok(stream)
}

/// Whether a connection is refused (and not reset later, timed out, or accepted).
pub(crate) fn is_refused(address: &str) -> bool {
    connect(address).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

/// What a server sends until it closes, or nothing if it can't be reached.
pub(crate) fn read_from(address: &str) -> Option<String> {
    let mut text = String::new();
    connect(address).ok()?.read_to_string(&mut text).ok()?;
    Some(text)
}

/// The first bytes that a server sends by itself.
pub(crate) fn greeting(address: &str) -> Option<String> {
    let mut buffer = [0; 256];
    let length = connect(address).ok()?.read(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// A whole HTTP answer to `GET PATH`, with its head.
pub(crate) fn http_get(address: &str, path: &str) -> Option<String> {
    http_ask(address, &format!("GET {path} HTTP/1.0\r\n\r\n"))
}

/// The same from a server that has several names.
pub(crate) fn http_get_of(name: &str, address: &str, path: &str) -> Option<String> {
    http_ask(address, &format!("GET {path} HTTP/1.0\r\nHost: {name}\r\n\r\n"))
}

fn http_ask(address: &str, request: &str) -> Option<String> {
    let mut stream = connect(address).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer).into_owned())
}

/// Sends one datagram and waits for the answer; also gives the local address it was sent from.
pub(crate) fn ask(address: &str, text: &str) -> std::io::Result<(SocketAddr, String)> {
    let address: SocketAddr = address.parse().expect("ADDRESS:PORT");
    let socket = UdpSocket::bind(if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    socket.connect(address)?;
    socket.send(text.as_bytes())?;
    let mut buffer = [0; 2048];
    let length = socket.recv(&mut buffer)?;
    Ok((socket.local_addr()?, String::from_utf8_lossy(&buffer[..length]).trim().to_owned()))
}
