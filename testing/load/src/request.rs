//! What a client says first on each TCP connection.

use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Result, bail};

/// No load sends more than this on one connection.
pub(crate) const MOST_BYTES: u64 = 40 << 30;
/// Bytes of a request and of a response in the rows that exchange them.
pub(crate) const MESSAGE: usize = 64;
/// Bytes of a datagram.
pub(crate) const DATAGRAM: usize = 1400;

/// What the connection is for.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Request {
    /// The client sends; at its end the server answers with the bytes it got, as 8 bytes.
    Upload,
    /// The server answers every message, until the client closes.
    Exchange,
    /// The server answers one message and closes.
    Once,
    /// The server answers with the number of datagrams that carried this number, as 8 bytes.
    Count(u32),
}

impl Request {
    pub(crate) fn write(self, stream: &mut TcpStream) -> Result<()> {
        let (kind, number) = match self {
            Request::Upload => (1, 0),
            Request::Exchange => (2, 0),
            Request::Once => (3, 0),
            Request::Count(number) => (4, number),
        };
        let mut bytes = [kind, 0, 0, 0, 0];
        bytes[1..].copy_from_slice(&number.to_be_bytes());
        Ok(stream.write_all(&bytes)?)
    }

    pub(crate) fn read(stream: &mut TcpStream) -> Result<Request> {
        let mut bytes = [0; 5];
        stream.read_exact(&mut bytes)?;
        let [kind, number @ ..] = bytes;
        Ok(match kind {
            1 => Request::Upload,
            2 => Request::Exchange,
            3 => Request::Once,
            4 => Request::Count(u32::from_be_bytes(number)),
            _ => bail!("not a request"),
        })
    }
}
