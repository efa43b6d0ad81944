use serde::{Deserialize, Serialize};

use crate::{ForwardSpec, Host, Policy, Problem, Process};

/// Identifies one `run` or `exec` while the engine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(pub u64);

/// Asks for a new host and a session in it. `POST /v1/hosts`; the answer is a stream of [`SessionEvent`]s, one JSON
/// object a line. The session lasts as long as the connection: when it closes, the session ends, and with the last
/// session of a host the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRequest {
    /// The host's name; `None` lets the engine derive a free one from `command`.
    pub name: Option<String>,
    /// The subnet that its network has, or is to have, `10.99.3.0/24`; `None` if that does not matter.
    #[serde(default)]
    pub subnet: Option<String>,
    /// What to forward to it.
    #[serde(default)]
    pub forwards: Vec<ForwardSpec>,
    /// First and last port of the ephemeral range; `None` means 49152–65535.
    pub ephemeral_range: Option<(u16, u16)>,
    /// Ports of the machine's own loopback that the gateway address opens to this host.
    #[serde(default)]
    pub host_ports: Vec<u16>,
    /// What the host may reach beyond its network; everything unless told otherwise.
    #[serde(default)]
    pub policy: Policy,
    /// Other networks that it joins; each must be there.
    #[serde(default)]
    pub networks: Vec<String>,
    /// Gives the host no address of its own on the machine's loopback.
    #[serde(default)]
    pub no_loopback: bool,
    /// Gives programs sockets of the machine for their connections from and to the outside: at its speed, with its addresses.
    #[serde(default)]
    pub direct: bool,
    /// How many seconds its programs may take to end after SIGTERM, 10 at most, when the client of its last session is gone
    /// without having ended it. Half a second unless told otherwise, as in every other case.
    #[serde(default)]
    pub grace_seconds: Option<u32>,
    /// The program and its arguments, for display.
    #[serde(default)]
    pub command: Vec<String>,
}

/// Asks for a session in an existing host. `POST /v1/hosts/{name}/sessions`; answered like [`HostRequest`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// The program and its arguments, for display.
    #[serde(default)]
    pub command: Vec<String>,
}

/// What happens in a session, as the client is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum SessionEvent {
    /// The first event: the host is ready to be entered.
    Opened {
        /// The session, for `DELETE /v1/sessions/{id}`, which ends it and answers with a [`SessionEnd`] when nothing of its
        /// host runs, listens or sends any more (if it was the last one), or at once.
        session: SessionId,
        /// The host.
        host: Box<Host>,
        /// How a program gets into it.
        enter: Enter,
    },
    /// The first event of a session without a host, `POST /v1/stay`: the network stays for as long as it is open.
    Staying {
        /// The session, for `DELETE /v1/sessions/{id}`.
        session: SessionId,
    },
    /// Something the user should read on stderr.
    Warning {
        /// One sentence.
        message: String,
    },
    /// A program of the session could not bind a port. Told only to who has handed the engine the binds of the session's
    /// program (`POST /v1/sessions/{id}/binds`).
    BindFailed {
        /// Which program and which port, and who holds it.
        problem: Box<Problem>,
    },
    /// The engine ends, and every host with it.
    EngineStopping {
        /// Why.
        reason: String,
    },
}

/// Paths of the namespaces that a program joins, in this order, before it is executed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enter {
    /// User namespace; `None` when the network was made by real root, without one.
    pub user: Option<String>,
    /// Network namespace of the host.
    pub network: String,
    /// Mount namespace of the host.
    pub mount: String,
    /// Time namespace of the host; `None` where the kernel has none.
    pub time: Option<String>,
}

/// How a session ended. Answer to `DELETE /v1/sessions/{id}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SessionEnd {
    /// Whether the host ended with it, because it was the host's last session.
    #[serde(default)]
    pub host_gone: bool,
    /// Processes that were still in the host and were made to end, as they were before the first signal.
    #[serde(default)]
    pub ended: Vec<Process>,
}
