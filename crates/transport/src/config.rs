//! What a stack is told when it is made.

use std::net::IpAddr;

use minato_ports::PortRange;

use crate::tcp;
use crate::types::{IpCidr, MacAddress};

/// Everything that a [`Stack`](crate::Stack) is told once. Start from [`Config::new`] and change fields.
#[derive(Clone, Debug)]
pub struct Config {
    /// What carries the packets.
    pub link: Link,
    /// Own addresses with their on-link prefixes, several of each family if wanted.
    pub addresses: Vec<IpCidr>,
    /// Of the own addresses those that are spoken from only if no other will do (RFC 4862 §5.5.4).
    pub deprecated: Vec<IpAddr>,
    /// Next hops for destinations off the link, the first of each family is used. A router to everywhere else needs none.
    pub gateways: Vec<IpAddr>,
    /// The link's other side also takes UDP segmentation (USO, VIRTIO 1.3 §5.1.6), and gives it. Only for links with a
    /// virtio-net header.
    pub datagram_segmentation: bool,
    /// Take TCP, UDP and echo requests to every destination, as a transparent router does.
    pub any_destination: bool,
    /// Source ports of connections that name none.
    pub ephemeral: PortRange,
    /// Secret of every keyed hash (demux, initial sequence numbers, SYN cookies). Take 16 bytes from the OS.
    pub key: [u8; 16],
    /// TCP's limits and choices.
    pub tcp: tcp::Config,
    /// Bounds on what remote parties can make the stack hold.
    pub limits: Limits,
}

impl Config {
    /// A host without addresses on `link`; ephemeral ports are the dynamic range of RFC 6335.
    #[must_use]
    pub fn new(link: Link, key: [u8; 16]) -> Config {
        Config {
            link,
            addresses: Vec::new(),
            deprecated: Vec::new(),
            gateways: Vec::new(),
            datagram_segmentation: false,
            any_destination: false,
            ephemeral: PortRange::DYNAMIC,
            key,
            tcp: tcp::Config::default(),
            limits: Limits::default(),
        }
    }

    /// The nearest that makes sense.
    pub(crate) fn within_bounds(mut self) -> Config {
        self.link = self.link.within_bounds();
        self.tcp = self.tcp.within_bounds();
        self
    }
}

/// Least MTU: TCP's least segment after the headers of IPv6 and TCP. RFC 791 has 68, RFC 8200 1280.
const MTU_MIN: u16 = 40 + 20 + tcp::SEGMENT_SIZE_MIN;

/// What carries the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Ethernet frames, as of a TAP.
    Ethernet {
        /// Our own station address.
        address: MacAddress,
        /// Largest IP packet in bytes; less than 148 counts as 148.
        mtu: u16,
        /// Each frame begins with a 10-byte virtio-net header (VIRTIO 1.2 §5.1.6, native byte order as the Linux TAP
        /// has it by default), and the other side takes partial checksums and TCP segmentation (TSO4, TSO6).
        virtio: bool,
    },
    /// Bare IP packets, as of a TUN.
    Ip {
        /// As above.
        mtu: u16,
        /// As above.
        virtio: bool,
    },
}

impl Link {
    /// Largest IP packet in bytes.
    #[must_use]
    pub fn mtu(&self) -> u16 {
        match *self {
            Link::Ethernet { mtu, .. } | Link::Ip { mtu, .. } => mtu,
        }
    }

    fn within_bounds(mut self) -> Link {
        match &mut self {
            Link::Ethernet { mtu, .. } | Link::Ip { mtu, .. } => *mtu = (*mtu).max(MTU_MIN),
        }
        self
    }

    /// Whether frames begin with a virtio-net header.
    #[must_use]
    pub fn virtio(&self) -> bool {
        match *self {
            Link::Ethernet { virtio, .. } | Link::Ip { virtio, .. } => virtio,
        }
    }
}

/// Bounds on what remote parties can make the stack hold. Whatever exceeds one is dropped and counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections in any state but TIME-WAIT, and those that are over and that their caller has not closed yet.
    pub connections: usize,
    /// Requests held unanswered at once.
    pub incoming: usize,
    /// Connections remembered in TIME-WAIT; above it the oldest is forgotten.
    pub time_wait: usize,
    /// Bytes of all connections' buffers together from which they grow no more: windows stay as they are, and no connection
    /// queues more than 64 KiB to send.
    pub buffer_bytes: usize,
    /// Received datagrams that wait for `poll_datagram`, in bytes.
    pub datagram_bytes: usize,
    /// Packets that wait for `poll_transmit` (datagrams, ICMP, RST), in bytes.
    pub outgoing_bytes: usize,
    /// Fragments that wait for the rest of their datagram, in bytes. Those of one source may take a quarter.
    pub fragment_bytes: usize,
    /// Neighbours remembered.
    pub neighbors: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 1 << 20,
            incoming: 16 << 10,
            time_wait: 256 << 10,
            buffer_bytes: 1 << 30,
            datagram_bytes: 4 << 20,
            outgoing_bytes: 8 << 20,
            fragment_bytes: 1 << 20,
            neighbors: 4096,
        }
    }
}
