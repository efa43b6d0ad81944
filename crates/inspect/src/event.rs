use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::{Collision, EgressRefusal, Flow, ForwardSpec, Joined, Process, Transport, Unknown};

/// Something that has just happened in a network. `GET /v1/events` is a stream of these as server-sent events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When it was noticed, in seconds since 1970 (UTC).
    pub time: f64,
    /// What it is.
    #[serde(flatten)]
    pub what: Happening,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Happening {
    /// A host is there.
    HostStarted {
        /// Its name.
        host: String,
        /// Its IPv4 address.
        address_v4: Ipv4Addr,
        /// Its IPv6 address; `None` where the kernel has no IPv6.
        address_v6: Option<Ipv6Addr>,
    },
    /// A host is gone, with its processes and sockets.
    HostEnded {
        /// Its name.
        host: String,
    },
    /// A socket has taken a port.
    Bind(BoundSocket),
    /// A TCP socket has begun to take connections.
    Listen(BoundSocket),
    /// A socket has given its port back.
    Release(BoundSocket),
    /// A connection is established, or the first datagram has passed.
    FlowStarted {
        /// Names the flow; only good for comparing.
        id: String,
        /// The flow.
        flow: Box<Flow>,
    },
    /// A connection has ended in whatever way, or no datagram has passed for a while.
    FlowEnded {
        /// As in the event of its start.
        id: String,
        /// The flow as it was at last.
        flow: Box<Flow>,
    },
    /// Ports of the machine are held for a host.
    ForwardsAdded(ForwardChange),
    /// They are no longer.
    ForwardsRemoved(ForwardChange),
    /// The service of these forwards listens, and so they do.
    ForwardsOpened(ForwardChange),
    /// It does not any more; their ports are held and refuse.
    ForwardsClosed(ForwardChange),
    /// A host's policy has refused something.
    EgressRefused(Box<EgressRefusal>),
    /// A host has joined another network than its own. Told in both.
    HostJoined {
        /// Its name.
        host: String,
        /// Its own network.
        home: String,
        /// The other network, and its addresses there.
        joined: Joined,
    },
    /// It is in the other network no longer. Told in both.
    HostLeft {
        /// Its name.
        host: String,
        /// Its own network.
        home: String,
        /// The other network.
        network: String,
    },
    /// The machine has something now that the network's subnet hides from its hosts.
    Collision(Collision),
    /// It has it no more.
    CollisionEnded(Collision),
    /// The network had no host, and has another subnet, because of a collision. No collision that was told before is one any more.
    SubnetChanged {
        /// IPv4 subnet in CIDR form.
        subnet_v4: String,
        /// IPv6 prefix in CIDR form; `None` where the kernel has no IPv6.
        subnet_v6: Option<String>,
    },
    /// This subscriber was too slow: so many events were not sent to it.
    EventsLost {
        /// How many.
        count: u64,
    },
    /// The engine ends, and every host with it. The last event.
    EngineStopping {
        /// Why.
        reason: String,
    },
}

/// A socket that holds a port in a host and has no peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoundSocket {
    /// The host.
    pub host: String,
    /// The bound address; unspecified for every address of its family.
    pub address: IpAddr,
    /// Whether an IPv6 wildcard takes IPv4 too.
    pub dual_stack: bool,
    /// The port.
    pub port: u16,
    /// TCP or UDP.
    pub transport: Transport,
    /// Name that IANA has registered for the number: a registered name, never a detected protocol.
    pub registered: Option<String>,
    /// The processes that hold it, as they were when it was first seen; empty with `process_unknown` set when that can't
    /// be told.
    pub processes: Vec<Process>,
    /// Why the holder can't be named, if so.
    pub process_unknown: Option<Unknown>,
}

/// Forwards of one host that have changed together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForwardChange {
    /// The host they lead to.
    pub host: String,
    /// The forwards, in the fewest words.
    pub forwards: Vec<ForwardSpec>,
}
