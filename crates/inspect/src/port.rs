use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{Forward, Process};

/// A transport protocol that has ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Transmission Control Protocol.
    Tcp,
    /// User Datagram Protocol.
    Udp,
}

/// IANA's three classes of port numbers (RFC 6335 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PortClass {
    /// 0–1023, system ports.
    WellKnown,
    /// 1024–49151, user ports.
    Registered,
    /// 49152–65535, dynamic or private ports.
    Dynamic,
}

/// Why something can't be told. Unknown is not none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unknown {
    /// The caller may not look.
    NoPermission,
    /// It was gone before it could be looked at.
    Vanished,
}

/// A bound port: one socket address that a process holds. `GET /v1/ports`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PortRow {
    /// The host in whose address space the port is; `None` for the machine itself.
    pub host: Option<String>,
    /// Bound addresses, several when one program binds the same port on IPv4 and IPv6. The unspecified address
    /// (`0.0.0.0`, `::`) means every address of that family.
    pub addresses: Vec<IpAddr>,
    /// Whether an IPv6 wildcard takes IPv4 connections too (`IPV6_V6ONLY` off).
    pub dual_stack: bool,
    /// The port number.
    pub port: u16,
    /// TCP or UDP.
    pub transport: Transport,
    /// Whether connections are accepted: a listening TCP socket, or a bound UDP socket that is not connected.
    pub listening: bool,
    /// IANA class of the number.
    pub class: PortClass,
    /// Name that IANA has registered for the number: a registered name, never a detected protocol.
    pub registered: Option<String>,
    /// The processes that hold the socket; empty with `process_unknown` set when that can't be told.
    pub processes: Vec<Process>,
    /// Why the holder can't be named, if so.
    pub process_unknown: Option<Unknown>,
    /// Forwards of the machine that lead here.
    pub forwarded_from: Vec<Forward>,
    /// Connections that wait to be accepted; `None` for what does not listen for TCP connections.
    #[serde(default)]
    pub accept_queue: Option<AcceptQueue>,
    /// Inode number of the socket.
    pub inode: u64,
}

/// The queue of a listening socket: connections that are established and not yet accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptQueue {
    /// How many wait.
    pub waiting: u32,
    /// The limit, as `listen` and `net.core.somaxconn` set it. The kernel lets one more wait than this.
    pub limit: u32,
}

impl AcceptQueue {
    /// Whether further connections are dropped.
    pub fn is_full(self) -> bool {
        self.waiting > self.limit
    }
}
