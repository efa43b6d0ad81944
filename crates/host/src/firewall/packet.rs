//! The packet that is followed: the first one of a connection.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::Transport;

/// The first packet of a connection: a SYN, or a datagram.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packet {
    /// TCP or UDP.
    pub transport: Transport,
    /// Where it comes from; `None` if that is not known.
    pub source: Option<IpAddr>,
    /// Where it goes.
    pub destination: IpAddr,
    /// The port it goes to.
    pub port: u16,
    /// What its way has to do with the namespace whose rules are followed.
    pub way: Way,
}

/// Where a packet comes from and goes to, as seen from a network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// From it to itself.
    Local,
    /// From it to elsewhere.
    Out,
    /// From elsewhere to it.
    In,
}

/// A station at which rules are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Packets that come in, before it is known where they go.
    Prerouting,
    /// Packets to this machine.
    Input,
    /// Packets of this machine.
    Output,
    /// Packets that go out.
    Postrouting,
}

impl Hook {
    /// The kernel's number (`enum nf_inet_hooks`).
    pub(super) fn number(self) -> u32 {
        match self {
            Hook::Prerouting => 0,
            Hook::Input => 1,
            Hook::Output => 3,
            Hook::Postrouting => 4,
        }
    }
}

impl Packet {
    /// The hooks that it passes, in their order.
    pub(super) fn hooks(&self) -> &'static [Hook] {
        const ALL: [Hook; 4] = [Hook::Output, Hook::Postrouting, Hook::Prerouting, Hook::Input];
        match self.way {
            Way::Local => &ALL,
            Way::Out => &ALL[..2],
            Way::In => &ALL[2..],
        }
    }

    pub(super) fn protocol(&self) -> u8 {
        match self.transport {
            Transport::Tcp => 6,
            Transport::Udp => 17,
        }
    }

    /// Bytes of the network header that are known.
    pub(super) fn network(&self, offset: usize, length: usize) -> Option<Vec<u8>> {
        let (v4, source, destination) = (self.destination.is_ipv4(), self.source.map(octets), octets(self.destination));
        match (v4, offset, length) {
            (true, 9, 1) | (false, 6, 1) => Some(vec![self.protocol()]),
            (true, 12, 1..=4) | (false, 8, 1..=16) => source.map(|bytes| bytes[..length].to_vec()),
            (true, 16, 1..=4) | (false, 24, 1..=16) => Some(destination[..length].to_vec()),
            _ => None,
        }
    }

    /// Bytes of the transport header that are known.
    pub(super) fn transport(&self, offset: usize, length: usize) -> Option<Vec<u8>> {
        const SYN: u8 = 0x02;
        match (self.transport, offset, length) {
            (_, 2, 2) => Some(self.port.to_be_bytes().to_vec()),
            (Transport::Tcp, 13, 1) => Some(vec![SYN]),
            _ => None,
        }
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}
