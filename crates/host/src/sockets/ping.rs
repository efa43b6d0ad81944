//! Echo sockets: ping without a privilege where the machine allows it.

use std::{
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    io::Errno,
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, ipproto, recv, send, socket_with},
};

use super::{Failure, take_error, udp::report_errors};

/// Length of an ICMP echo header.
const HEADER: usize = 8;
/// What a buffer for [`PingSocket::receive`] must hold beside the payload: an echo header behind the longest IPv4 header.
pub const PING_OVERHEAD: usize = 60 + HEADER;

/// An ICMP echo socket towards one address: unprivileged (`SOCK_DGRAM`) where the machine allows it, else raw.
#[derive(Debug)]
pub struct PingSocket {
    socket: OwnedFd,
    kind: Kind,
    v6: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The kernel chooses the identifier and delivers its own replies only.
    Datagram,
    /// We choose it, and filter.
    Raw { identifier: u16 },
}

/// What a [`PingSocket`] heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pong {
    /// The answer to our request; its payload is the first `length` bytes of the buffer.
    Reply {
        /// Sequence number of the request.
        sequence: u16,
        /// Payload length.
        length: usize,
    },
    /// The path or the peer refused.
    Failed(Failure),
}

impl PingSocket {
    /// Opens a socket towards `remote`. `identifier` is used where the kernel does not choose one itself.
    ///
    /// # Errors
    /// [`Failure::Prohibited`] when neither `net.ipv4.ping_group_range` nor CAP_NET_RAW allow it.
    pub fn open(remote: IpAddr, identifier: u16) -> Result<Self, Failure> {
        match Self::of_type(SocketType::DGRAM, Kind::Datagram, remote) {
            Err(Failure::Prohibited) => Self::raw(remote, identifier),
            result => result,
        }
    }

    pub(super) fn raw(remote: IpAddr, identifier: u16) -> Result<Self, Failure> {
        Self::of_type(SocketType::RAW, Kind::Raw { identifier }, remote)
    }

    fn of_type(of_type: SocketType, kind: Kind, remote: IpAddr) -> Result<Self, Failure> {
        let v6 = remote.is_ipv6();
        let (family, protocol) =
            if v6 { (AddressFamily::INET6, ipproto::ICMPV6) } else { (AddressFamily::INET, ipproto::ICMP) };
        let socket = socket_with(family, of_type, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, Some(protocol))?;
        report_errors(socket.as_fd(), v6)?;
        connect(&socket, &SocketAddr::new(remote, 0))?;
        Ok(Self { socket, kind, v6 })
    }

    /// Sends an echo request. One that the machine has no room for is lost, as on any link.
    ///
    /// # Errors
    /// A failure that is known at once, or of an earlier request.
    pub fn send(&self, sequence: u16, payload: &[u8]) -> Result<(), Failure> {
        let mut message = Vec::with_capacity(HEADER + payload.len());
        let identifier = if let Kind::Raw { identifier } = self.kind { identifier } else { 0 };
        message.extend_from_slice(&[if self.v6 { 128 } else { 8 }, 0, 0, 0]);
        message.extend_from_slice(&identifier.to_be_bytes());
        message.extend_from_slice(&sequence.to_be_bytes());
        message.extend_from_slice(payload);
        // The kernel fills the checksum in, except for raw IPv4.
        if matches!(self.kind, Kind::Raw { .. }) && !self.v6 {
            let checksum = internet_checksum(&message);
            message[2..4].copy_from_slice(&checksum.to_be_bytes());
        }
        match send(&self.socket, &message, SendFlags::empty()) {
            Ok(_) | Err(Errno::AGAIN | Errno::NOBUFS) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Takes what was heard; the payload of a reply is moved to the start of `buffer`, and cut where `buffer` has less than
    /// [`PING_OVERHEAD`] bytes beside it. `None`: nothing waits.
    pub fn receive(&self, buffer: &mut [u8]) -> Option<Pong> {
        loop {
            let (length, _) = match recv(&self.socket, &mut *buffer, RecvFlags::empty()) {
                Ok(received) => received,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return take_error(self.socket.as_fd()).map(Pong::Failed),
                // The call has taken the pending error; what led to it is still in the queue.
                Err(errno) => return Some(Pong::Failed(take_error(self.socket.as_fd()).unwrap_or(errno.into()))),
            };
            let message = &buffer[..length.min(buffer.len())];
            if let Some((sequence, payload)) = self.reply(message) {
                let length = message.len() - payload;
                buffer.copy_within(payload..payload + length, 0);
                return Some(Pong::Reply { sequence, length });
            }
        }
    }

    /// The sequence number and where the payload starts, if this is a reply to us.
    fn reply(&self, message: &[u8]) -> Option<(u16, usize)> {
        let start = match self.kind {
            // Raw IPv4 sockets get the IP header too.
            Kind::Raw { .. } if !self.v6 => usize::from(message.first()? & 0x0f) * 4,
            _ => 0,
        };
        let header = message.get(start..start + HEADER)?;
        let field = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let ours = match self.kind {
            Kind::Datagram => true,
            Kind::Raw { identifier } => field(4) == identifier,
        };
        (header[0] == if self.v6 { 129 } else { 0 } && ours).then(|| (field(6), start + HEADER))
    }
}

impl AsFd for PingSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// RFC 1071.
fn internet_checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
