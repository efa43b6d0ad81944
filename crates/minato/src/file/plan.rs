//! What a file means: what is to run where.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use minato_engine::FixedSubnet;
use minato_host::enter::Identity;
use minato_inspect::{ForwardSpec, Policy, Transport};

use crate::flags::Name;

/// A network with its hosts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    /// The network's name, the instance's included.
    pub(crate) network: Name,
    /// Its subnet, if it is fixed.
    pub(crate) subnet: Option<FixedSubnet>,
    /// The instance, if it is one.
    pub(crate) instance: Option<Name>,
    /// What it was read from: the files, and the env-files that they name.
    pub(crate) files: Vec<PathBuf>,
    /// The hosts, those that others depend on first.
    pub(crate) hosts: Vec<HostPlan>,
}

/// One host.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HostPlan {
    /// Its name.
    pub(crate) name: Name,
    /// Its programs; at least one.
    pub(crate) services: Vec<ServicePlan>,
    /// What leads to it from the machine.
    pub(crate) forwards: Vec<Forward>,
    /// It is ready when all of these listen. Empty: as soon as its programs have started.
    pub(crate) ready: Vec<ReadyPort>,
    /// And when this has ended well in it.
    pub(crate) ready_command: Option<Vec<String>>,
    /// The hosts that must be ready before.
    pub(crate) depends_on: Vec<Name>,
    /// First and last port of its kernel's ephemeral range.
    pub(crate) ephemeral_range: Option<(u16, u16)>,
    /// Ports of the machine's own loopback that the gateway opens.
    pub(crate) host_ports: Vec<u16>,
    /// Where it may connect to.
    pub(crate) policy: Policy,
    /// Other networks that it joins.
    pub(crate) networks: Vec<Name>,
    /// How long its programs may take to end.
    pub(crate) stop_timeout: Duration,
}

/// One program of a host.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ServicePlan {
    /// Its name, where a host has several.
    pub(crate) name: Option<Name>,
    /// Program and arguments; at least the program.
    pub(crate) command: Vec<String>,
    /// What is added to the environment.
    pub(crate) environment: BTreeMap<String, String>,
    /// Where it runs.
    pub(crate) directory: PathBuf,
    /// What happens when it ends.
    pub(crate) restart: Restart,
    /// Whether it sees itself as root.
    pub(crate) map_root: bool,
    /// Whether it is told why its binds fail.
    pub(crate) bind_watch: bool,
    /// Whether its connections to the outside are over sockets of the machine. Then it is told, too.
    pub(crate) direct: bool,
    /// The port that it is for: what `PORT` says.
    pub(crate) port: Option<u16>,
}

impl ServicePlan {
    /// As whom it runs.
    pub(crate) fn identity(&self) -> Identity {
        if self.map_root { Identity::MapRoot } else { Identity::Own }
    }
}

/// What happens when a program ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Restart {
    /// Nothing.
    #[default]
    No,
    /// It is started again unless it ended with 0.
    OnFailure,
    /// It is started again.
    Always,
}

/// A port that is to listen (TCP) or to be bound (UDP).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ReadyPort {
    /// The number.
    pub(crate) port: u16,
    /// TCP or UDP.
    pub(crate) transport: Transport,
}

/// A forward to a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Forward {
    /// First and last port of the service.
    pub(crate) service_ports: (u16, u16),
    /// TCP or UDP.
    pub(crate) transport: Transport,
    /// Address on the machine; `None` means both loopback addresses.
    pub(crate) address: Option<IpAddr>,
    /// The ports on the machine.
    pub(crate) host_ports: HostPorts,
}

/// Where free ports are looked for: registered ports that few use, below every kernel's ephemeral range, so that no
/// client's port is in the way.
pub(crate) const FREE_PORTS: std::ops::Range<u16> = 20_000..30_000;

/// Which ports of the machine a forward takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostPorts {
    /// These.
    Fixed(u16, u16),
    /// Free ones, which the engine tells.
    Any,
    /// Free ones, because these are another instance's.
    InsteadOf(u16, u16),
}

impl HostPlan {
    /// The forwards with ports that are named.
    pub(crate) fn fixed_forwards(&self) -> Vec<ForwardSpec> {
        self.forwards.iter().filter_map(Forward::fixed).collect()
    }

    /// Whether the other one differs in nothing but forwards with ports that are named: those can be changed while it runs.
    pub(crate) fn same_but_fixed_forwards(&self, other: &HostPlan) -> bool {
        let without = |plan: &HostPlan| {
            let forwards = plan.forwards.iter().filter(|forward| forward.fixed().is_none()).cloned().collect();
            HostPlan { forwards, ..plan.clone() }
        };
        without(self) == without(other)
    }
}

impl Forward {
    /// As the engine is asked for it, if its ports are named.
    pub(crate) fn fixed(&self) -> Option<ForwardSpec> {
        match self.host_ports {
            HostPorts::Fixed(first, last) => Some(self.at((first, last))),
            HostPorts::Any | HostPorts::InsteadOf(..) => None,
        }
    }

    /// As the engine is asked for it, at these ports of the machine.
    pub(crate) fn at(&self, host_ports: (u16, u16)) -> ForwardSpec {
        ForwardSpec { address: self.address, host_ports, service_ports: self.service_ports, transport: self.transport }
    }
}

/// A label out of any text, such as the name of a branch or a directory: in lower case, with hyphens for what a label
/// can't have.
pub(crate) fn instance_label(text: &str) -> Option<Name> {
    const LONGEST: usize = 40;
    let fits = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let mut label = String::new();
    for c in text.chars().map(fits) {
        if c != '-' || !(label.is_empty() || label.ends_with('-')) {
            label.push(c);
        }
    }
    label.truncate(LONGEST);
    label.trim_end_matches('-').parse().ok()
}
