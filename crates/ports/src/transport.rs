use std::fmt;

/// A transport protocol that has ports, as far as minato carries it.
///
/// Ports of different transports have nothing to do with each other: 53/tcp and 53/udp are two ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Transmission Control Protocol (RFC 9293).
    Tcp,
    /// User Datagram Protocol (RFC 768).
    Udp,
}

impl Transport {
    /// Both, in a fixed order.
    pub const ALL: [Transport; 2] = [Transport::Tcp, Transport::Udp];

    /// The name that follows the slash in `80/tcp`.
    pub const fn name(self) -> &'static str {
        match self {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
