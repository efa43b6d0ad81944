use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{Process, Transport};

/// Something that a host's policy refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EgressRefusal {
    /// The host.
    pub host: String,
    /// TCP or UDP; `None` for ICMP echo, and for a name.
    pub transport: Option<Transport>,
    /// Where it was to go; `None` for a name, which was not resolved.
    pub address: Option<IpAddr>,
    /// The port there.
    pub port: Option<u16>,
    /// The name that was asked for, or that had led to the address.
    pub name: Option<String>,
    /// Who tried; `None` when that can't be told any more.
    pub process: Option<Process>,
    /// The rule that denies it; `None` when it is the default.
    pub rule: Option<String>,
    /// Why, in one sentence.
    pub reason: String,
    /// A rule that would allow it.
    pub allow: Option<String>,
    /// Refusals since the last one that was told, which came too fast to be told.
    pub untold: u64,
}

/// What a host's policy says about a destination. `GET /v1/hosts/{name}/egress?to=PLACE&port=PORT&transport=tcp`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EgressVerdict {
    /// Whether it can be reached, as far as the policy goes.
    pub allowed: bool,
    /// The rule that decided; `None` when it is the default.
    pub rule: Option<String>,
    /// Why, in one sentence.
    pub reason: String,
    /// A rule that would allow it, if it is refused and a rule can.
    pub allow: Option<String>,
}
