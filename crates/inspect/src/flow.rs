use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::{Process, Transport, Unknown};

/// A conversation between two sockets: a TCP connection or an exchange of datagrams. `GET /v1/flows`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Flow {
    /// TCP or UDP.
    pub transport: Transport,
    /// The side that initiated it.
    pub client: Endpoint,
    /// The side that was addressed.
    pub server: Endpoint,
    /// The forward it came through, if it came from outside.
    pub forward: Option<u64>,
    /// The machine's address and port that this forward holds.
    #[serde(default)]
    pub via: Option<SocketAddr>,
    /// Whether the program in the host holds a socket of the machine, so that no byte of it passes through the engine.
    #[serde(default)]
    pub direct: bool,
    /// The client's address and port as the service sees them, where they differ: a client of the machine itself
    /// appears as the gateway.
    #[serde(default)]
    pub seen_as: Option<SocketAddr>,
    /// Where it stands.
    pub state: FlowState,
    /// Seconds since it began; `None` between and within hosts: their kernels keep no time of it, and nobody is in the way.
    pub age_seconds: Option<f64>,
    /// Bytes from client to server; `None` when nobody counted.
    pub bytes_in: Option<u64>,
    /// Bytes from server to client; `None` when nobody counted.
    pub bytes_out: Option<u64>,
    /// Segments sent again, both directions where both are known.
    pub retransmits: Option<u64>,
    /// Smoothed round-trip time in microseconds.
    pub rtt_micros: Option<u64>,
}

/// One end of a flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The minato host it is in; `None` for the machine or a remote one.
    pub host: Option<String>,
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// Its process, where it can be told.
    pub process: Option<Process>,
    /// Why the process of an end on this machine can't be named, if so.
    #[serde(default)]
    pub process_unknown: Option<Unknown>,
    /// A name that our DNS gave for the address, if any.
    pub name: Option<String>,
}

/// State of a flow. TCP states have their RFC 9293 names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FlowState {
    /// Being connected.
    Connecting,
    /// Data passes.
    Established,
    /// One direction has ended.
    HalfClosed,
    /// Both directions have ended; what is in flight is being delivered.
    Closing,
    /// The 4-tuple is held back until old segments have died (RFC 9293 §3.6.1).
    TimeWait,
}
