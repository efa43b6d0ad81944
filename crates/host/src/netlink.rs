//! A blocking netlink socket: batches of requests with one acknowledgement each, and dumps.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkBuffer, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, sendto, socket_with,
};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP_INTR: u16 = 0x10;
/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// The kernel fills at most 32 KiB at a time.
const BUFFER: usize = 64 * 1024;

/// A socket of one netlink protocol, in the network namespace in which it was opened.
#[derive(Debug)]
pub(crate) struct Netlink {
    fd: OwnedFd,
    buffer: Vec<u8>,
    /// The next request's. Answers carry their request's, so that what an earlier one left unread, when it failed
    /// half-way, is not taken for an answer to a later one.
    sequence: u32,
}

impl Netlink {
    /// Opens a socket; `None` is rtnetlink, which has the number 0.
    pub(crate) fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        Ok(Self::from(fd))
    }

    /// Sends rtnetlink requests in one go and waits for every acknowledgement. The kernel handles them in order and
    /// goes on after a failure; the first failure is returned with its request's position.
    pub(crate) fn requests(&mut self, requests: Vec<RouteNetlinkMessage>) -> Result<(), (usize, io::Error)> {
        let mut bytes = Vec::new();
        let count = requests.len();
        let first_sequence = self.take_sequences(count as u32);
        for (index, request) in requests.into_iter().enumerate() {
            let flags = NLM_F_REQUEST | NLM_F_ACK | how(&request);
            let mut message = NetlinkMessage::from(request);
            message.header.flags = flags;
            message.header.sequence_number = first_sequence.wrapping_add(index as u32);
            message.finalize();
            let start = bytes.len();
            bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
            message.serialize(&mut bytes[start..start + message.header.length as usize]);
        }
        // Sent to the kernel by address: then only the sender's rights count, and not also those of who opened the socket.
        // It may have come from an agent that has rights in its own user namespace only.
        let kernel = SocketAddrNetlink::new(0, 0);
        sendto(&self.fd, &bytes, SendFlags::empty(), &kernel).map_err(|error| (0, error.into()))?;
        let mut first = None;
        let mut answered = 0;
        while answered < count {
            self.receive(|(kind, sequence, _), payload| {
                let index = sequence.wrapping_sub(first_sequence) as usize;
                if kind == NLMSG_ERROR && index < count {
                    answered += 1;
                    if let (Some(error), None) = (error_code(payload), &first) {
                        first = Some((index, error));
                    }
                }
            })
            .map_err(|error| (answered, error))?;
        }
        first.map_or(Ok(()), Err)
    }

    /// Sends one request that asks for one object, and returns the payload of the answer.
    pub(crate) fn get(&mut self, request: RouteNetlinkMessage) -> io::Result<Vec<u8>> {
        let (kind, payload) = route_payload(request);
        let own = self.take_sequences(1);
        send(&self.fd, &message(kind, NLM_F_REQUEST, own, &payload), SendFlags::empty())?;
        let mut answer = None;
        while answer.is_none() {
            self.receive(|(kind, sequence, _), payload| {
                if sequence == own {
                    answer = Some(match error_code(payload) {
                        Some(error) if kind == NLMSG_ERROR => Err(error),
                        _ => Ok(payload.to_vec()),
                    });
                }
            })?;
        }
        answer.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))
    }

    /// Sends one dump request, whose header this fills in, and calls `each` with every answer's payload. Starts again
    /// from the caller's point of view never: an interrupted dump (`NLM_F_DUMP_INTR`) is returned as `Ok(false)`.
    pub(crate) fn dump(&mut self, message_type: u16, payload: &[u8], mut each: impl FnMut(&[u8])) -> io::Result<bool> {
        let own = self.take_sequences(1);
        send(&self.fd, &message(message_type, NLM_F_REQUEST | NLM_F_DUMP, own, payload), SendFlags::empty())?;
        let (mut done, mut consistent, mut failure) = (false, true, None);
        while !done {
            self.receive(|(kind, sequence, flags), payload| {
                if sequence != own {
                    return;
                }
                consistent &= flags & NLM_F_DUMP_INTR == 0;
                match kind {
                    NLMSG_ERROR | NLMSG_DONE => {
                        done = true;
                        failure = error_code(payload);
                    }
                    _ => each(payload),
                }
            })?;
        }
        failure.map_or(Ok(consistent), Err)
    }

    /// Numbers for `count` requests: the first of them.
    fn take_sequences(&mut self, count: u32) -> u32 {
        let first = self.sequence;
        self.sequence = first.wrapping_add(count);
        first
    }

    /// Receives one datagram and calls `each` with the (type, sequence number, flags) and the payload of its messages.
    pub(crate) fn receive(&mut self, mut each: impl FnMut((u16, u32, u16), &[u8])) -> io::Result<()> {
        let (length, _) = rustix::io::retry_on_intr(|| recv(&self.fd, &mut self.buffer[..], RecvFlags::empty()))?;
        let mut rest = &self.buffer[..length];
        while !rest.is_empty() {
            let message = NetlinkBuffer::new_checked(rest)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            let length = message.length() as usize;
            each((message.message_type(), message.sequence_number(), message.flags()), &rest[HEADER..length]);
            rest = &rest[length.next_multiple_of(4).min(rest.len())..];
        }
        Ok(())
    }
}

impl From<OwnedFd> for Netlink {
    fn from(fd: OwnedFd) -> Self {
        // 0 is what the kernel's own announcements carry.
        Self { fd, buffer: vec![0; BUFFER], sequence: 1 }
    }
}

impl From<Netlink> for OwnedFd {
    fn from(netlink: Netlink) -> Self {
        netlink.fd
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The flags of an rtnetlink request that depend on what it does: making something that is not there yet; a neighbour may
/// have been asked for already. In a request that removes, the kernel would read them as "all at once".
fn how(request: &RouteNetlinkMessage) -> u16 {
    match request {
        RouteNetlinkMessage::DelLink(_) | RouteNetlinkMessage::DelNeighbour(_) => 0,
        RouteNetlinkMessage::NewNeighbour(_) => NLM_F_CREATE | NLM_F_REPLACE,
        _ => NLM_F_CREATE | NLM_F_EXCL,
    }
}

/// A message with its header.
fn message(message_type: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let length = HEADER + payload.len();
    let mut bytes = Vec::with_capacity(length);
    bytes.extend_from_slice(&(length as u32).to_ne_bytes());
    bytes.extend_from_slice(&message_type.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.extend_from_slice(&sequence.to_ne_bytes());
    // The kernel's side needs no port ID.
    bytes.extend_from_slice(&0u32.to_ne_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Serialises the inside of an rtnetlink message, for [`Netlink::dump`].
pub(crate) fn route_payload(message: RouteNetlinkMessage) -> (u16, Vec<u8>) {
    let mut message = NetlinkMessage::from(message);
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    let NetlinkPayload::InnerMessage(_) = &message.payload else { unreachable!("made from a route message") };
    (message.header.message_type, bytes.split_off(HEADER))
}

/// The error in an `NLMSG_ERROR` or `NLMSG_DONE` payload; `None` for an acknowledgement.
fn error_code(payload: &[u8]) -> Option<io::Error> {
    let code = i32::from_ne_bytes(payload.get(..4)?.try_into().ok()?);
    (code < 0).then(|| io::Error::from_raw_os_error(-code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sock_diag::open_dumps;

    #[test]
    fn what_an_earlier_request_left_is_no_answer_to_a_later_one() {
        let mut netlink = Netlink::from(open_dumps().unwrap());
        // Unknown types, each answered with an error that names its own.
        send(&netlink.fd, &message(0x3ff, NLM_F_REQUEST | NLM_F_ACK, 0, &[]), SendFlags::empty()).unwrap();
        let listeners =
            crate::sock_diag::Query::new(crate::Family::V4, crate::Transport::Tcp, crate::sock_diag::States::LISTEN);
        netlink.dump(20, &crate::sock_diag::request(listeners), |_| {}).unwrap();
    }
}
