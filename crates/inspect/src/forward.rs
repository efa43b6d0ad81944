use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::Transport;

/// What is to be forwarded: host ports to service ports, pairwise. Both ranges are inclusive and equally long.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ForwardSpec {
    /// Address on the machine; `None` means both loopback addresses, 127.0.0.1 and ::1.
    pub address: Option<IpAddr>,
    /// First and last port on the machine.
    pub host_ports: (u16, u16),
    /// First and last port of the service.
    pub service_ports: (u16, u16),
    /// TCP or UDP.
    pub transport: Transport,
}

/// Forwards to add to a host, or to remove from it: all of them or, when one is impossible, none. Body of
/// `POST /v1/forwards` and `DELETE /v1/forwards`; both answer with the forwards that were added or removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardRequest {
    /// The host they lead to.
    pub host: String,
    /// The forwards.
    pub forwards: Vec<ForwardSpec>,
}

/// One forward: one address and port of the machine that leads to one port of a host. `GET /v1/forwards`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    /// Identifies the forward while the engine runs.
    pub id: u64,
    /// Address on the machine.
    pub address: IpAddr,
    /// Port on the machine.
    pub host_port: u16,
    /// The host it leads to.
    pub host: String,
    /// Port of the service.
    pub service_port: u16,
    /// TCP or UDP.
    pub transport: Transport,
    /// Whether clients get through now.
    pub state: ForwardState,
    /// Whether it is the host's own, at its loopback address on the machine: it comes and goes with the service.
    #[serde(default)]
    pub automatic: bool,
    /// Connections (TCP) or client addresses (UDP) forwarded so far.
    pub connections: u64,
    /// Bytes from clients to the service.
    pub bytes_in: u64,
    /// Bytes from the service to clients.
    pub bytes_out: u64,
}

impl Forward {
    /// Where it is on the machine.
    pub fn place(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.host_port)
    }
}

/// Whether a forward lets clients through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardState {
    /// The host port is held; connections are refused because the service does not listen.
    Held,
    /// The service listens and so does the forward.
    Open,
    /// The host port is held; connections are refused because the service listens, but not in the family of the address on
    /// the machine (which matters unless that is a loopback address).
    OtherFamily,
}
