//! What files say, before it is known whether it makes sense; and how one lies over another.

use std::time::Duration;

use minato_engine::FixedSubnet;

use super::plan::Restart;
use super::policy::PolicyDraft;
use super::ports::{PortKey, PortLine};
use super::problem::At;
use crate::flags::Name;

/// One file, or several laid over each other.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) network: Option<At<Name>>,
    /// Whether a file may name a network that could not be read.
    pub(super) hides_network: bool,
    pub(super) subnet: Option<At<FixedSubnet>>,
    pub(super) policy: PolicyDraft,
    pub(super) environment: Environment,
    pub(super) hosts: Vec<(At<Name>, HostDraft)>,
}

/// `[host.NAME]`.
#[derive(Debug, Default)]
pub(super) struct HostDraft {
    pub(super) program: ProgramDraft,
    pub(super) services: Vec<(At<Name>, ProgramDraft)>,
    pub(super) ports: Ports,
    pub(super) ready_command: Option<At<Vec<String>>>,
    pub(super) depends_on: Option<Vec<At<Name>>>,
    pub(super) ephemeral_range: Option<At<(u16, u16)>>,
    pub(super) host_ports: Option<Vec<At<u16>>>,
    pub(super) policy: PolicyDraft,
    pub(super) networks: Option<Vec<At<Name>>>,
    pub(super) stop_timeout: Option<At<Duration>>,
}

/// What a host and a service of it both can have; what a host has is its services' default.
#[derive(Clone, Debug, Default)]
pub(super) struct ProgramDraft {
    pub(super) command: Option<At<Vec<String>>>,
    pub(super) environment: Environment,
    pub(super) env_file: Option<Vec<At<String>>>,
    pub(super) directory: Option<At<String>>,
    pub(super) restart: Option<At<Restart>>,
    pub(super) map_root: Option<At<bool>>,
    pub(super) bind_watch: Option<At<bool>>,
    pub(super) direct: Option<At<bool>>,
    pub(super) ready: Option<Vec<At<PortKey>>>,
}

/// Where each port of a service is to be reached on this machine; `None` for `false`.
pub(super) type Ports = Vec<(At<PortKey>, At<Option<Vec<PortLine>>>)>;
/// Variables by name.
pub(super) type Environment = Vec<(At<String>, String)>;

impl Draft {
    /// This file laid over another: what it says replaces what the other says, key by key.
    pub(super) fn over(self, below: Draft) -> Draft {
        Draft {
            hides_network: self.hides_network || (below.hides_network && self.network.is_none()),
            network: self.network.or(below.network),
            subnet: self.subnet.or(below.subnet),
            policy: self.policy.over(below.policy),
            environment: over(self.environment, below.environment, |_, above| above),
            hosts: over(self.hosts, below.hosts, |below, above| above.over(below)),
        }
    }
}

impl HostDraft {
    fn over(self, below: HostDraft) -> HostDraft {
        HostDraft {
            program: self.program.over(below.program),
            services: over(self.services, below.services, |below, above| above.over(below)),
            ports: over(self.ports, below.ports, |_, above| above),
            ready_command: self.ready_command.or(below.ready_command),
            depends_on: self.depends_on.or(below.depends_on),
            ephemeral_range: self.ephemeral_range.or(below.ephemeral_range),
            host_ports: self.host_ports.or(below.host_ports),
            policy: self.policy.over(below.policy),
            networks: self.networks.or(below.networks),
            stop_timeout: self.stop_timeout.or(below.stop_timeout),
        }
    }
}

impl ProgramDraft {
    /// This laid over another: a file over a file, or a service over its host.
    pub(super) fn over(self, below: ProgramDraft) -> ProgramDraft {
        ProgramDraft {
            command: self.command.or(below.command),
            environment: over(self.environment, below.environment, |_, above| above),
            env_file: self.env_file.or(below.env_file),
            directory: self.directory.or(below.directory),
            restart: self.restart.or(below.restart),
            map_root: self.map_root.or(below.map_root),
            bind_watch: self.bind_watch.or(below.bind_watch),
            direct: self.direct.or(below.direct),
            ready: self.ready.or(below.ready),
        }
    }
}

/// Entries laid over others by key; those below keep their order, and new ones follow.
pub(super) fn over<K: PartialEq, V>(
    above: Vec<(At<K>, V)>,
    below: Vec<(At<K>, V)>,
    merge: impl Fn(V, V) -> V,
) -> Vec<(At<K>, V)> {
    let mut above: Vec<Option<(At<K>, V)>> = above.into_iter().map(Some).collect();
    let mut laid = Vec::with_capacity(above.len() + below.len());
    for (key, value) in below {
        let same = above.iter_mut().find(|entry| entry.as_ref().is_some_and(|(other, _)| *other == key));
        laid.push(match same.and_then(Option::take) {
            Some((place, over)) => (place, merge(value, over)),
            None => (key, value),
        });
    }
    laid.extend(above.into_iter().flatten());
    laid
}
