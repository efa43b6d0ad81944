use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// What a program of the demo tells about its sockets: a line of JSON on its standard output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(super) enum Report {
    /// A server has its port.
    Bound {
        /// What `getsockname` says.
        local: SocketAddr,
    },
    /// A bind was refused.
    BindRefused {
        /// What was to be bound.
        wanted: SocketAddr,
        /// The kernel's reason.
        reason: String,
    },
    /// A server has taken a connection.
    Accepted {
        /// The client.
        client: SocketAddr,
        /// The server's own end.
        local: SocketAddr,
    },
    /// A client is connected.
    Connected {
        /// The client's own end, as `getsockname` says.
        source: SocketAddr,
    },
    /// A client has an answer.
    Answered {
        /// The client's own end.
        source: SocketAddr,
        /// The answer's most telling line.
        text: String,
    },
    /// A client has closed a connection and bound its port once more to see that it is free.
    Released {
        /// The port that was the client's.
        source: SocketAddr,
        /// Microseconds from close until it could be bound; `None` when it stayed taken.
        after_micros: Option<u64>,
    },
}
