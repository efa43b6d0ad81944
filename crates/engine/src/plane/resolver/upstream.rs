//! One question to one of the machine's resolvers.

use std::io::IoSlice;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use minato_host::sockets::{Failure, Transfer, connect, receive, send, udp_connect, udp_receive, udp_send};

use super::message;

/// Most datagrams taken from one socket in one turn.
const BATCH: usize = 16;
/// Bytes of the length that precedes each message on a connection (RFC 1035 §4.2.2).
pub(super) const LENGTH: usize = 2;

/// A socket on which a resolver was asked.
#[derive(Debug)]
pub(super) enum Upstream {
    Datagram(OwnedFd),
    Stream {
        socket: OwnedFd,
        /// What is still to be sent.
        unsent: Vec<u8>,
        /// What has arrived of the answer, its length first.
        arrived: Vec<u8>,
    },
}

/// What the socket gave.
#[derive(Debug)]
pub(super) enum Heard {
    Nothing,
    /// Nothing that answers the question so far.
    More,
    Answer(Vec<u8>),
    /// Nobody answers there.
    Failure,
}

impl Upstream {
    /// Asks; on a connection as soon as there is one.
    pub(super) fn ask(resolver: SocketAddr, question: &[u8], on_connection: bool) -> Result<Upstream, Failure> {
        if on_connection {
            return Ok(Upstream::Stream { socket: connect(resolver)?, unsent: framed(question), arrived: Vec::new() });
        }
        let socket = udp_connect(resolver)?;
        udp_send(socket.as_fd(), question)?;
        Ok(Upstream::Datagram(socket))
    }

    /// Takes what there is. `buffer` has room for any datagram.
    pub(super) fn hear(&mut self, question: &[u8], buffer: &mut [u8]) -> Heard {
        match self {
            Upstream::Datagram(socket) => hear_datagrams(socket.as_fd(), question, buffer),
            Upstream::Stream { socket, unsent, arrived } => {
                hear_stream(socket.as_fd(), unsent, arrived, buffer).map_or(Heard::Failure, |heard| match heard {
                    // RFC 5452 §9.1: on a connection too, the answer to something else is none.
                    Heard::Answer(answer) if !message::answers(&answer, question) => Heard::Failure,
                    heard => heard,
                })
            }
        }
    }
}

impl AsFd for Upstream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Upstream::Datagram(socket) | Upstream::Stream { socket, .. } => socket.as_fd(),
        }
    }
}

/// A message as it travels on a connection.
pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    // None is longer: it has come with such a length, or in a datagram.
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend(&message[..usize::from(length)]);
    framed
}

fn hear_datagrams(socket: BorrowedFd<'_>, question: &[u8], buffer: &mut [u8]) -> Heard {
    for _ in 0..BATCH {
        match udp_receive(socket, buffer) {
            Ok(None) => return Heard::Nothing,
            Ok(Some(length)) if message::answers(&buffer[..length], question) => {
                return Heard::Answer(buffer[..length].to_vec());
            }
            Ok(Some(_)) => {}
            Err(_) => return Heard::Failure,
        }
    }
    Heard::More
}

fn hear_stream(
    socket: BorrowedFd<'_>,
    unsent: &mut Vec<u8>,
    arrived: &mut Vec<u8>,
    buffer: &mut [u8],
) -> Result<Heard, Failure> {
    while !unsent.is_empty() {
        match send(socket, &[IoSlice::new(unsent)])? {
            Transfer::Moved(count) => drop(unsent.drain(..count)),
            Transfer::End | Transfer::WouldBlock => return Ok(Heard::Nothing),
        }
    }
    loop {
        if let Some((length, answer)) = arrived.split_first_chunk::<LENGTH>()
            && let Some(answer) = answer.get(..usize::from(u16::from_be_bytes(*length)))
        {
            return Ok(Heard::Answer(answer.to_vec()));
        }
        match receive(socket, buffer)? {
            Transfer::End => return Ok(Heard::Failure),
            Transfer::Moved(count) => arrived.extend(&buffer[..count]),
            Transfer::WouldBlock => return Ok(Heard::Nothing),
        }
    }
}
