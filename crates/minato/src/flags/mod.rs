//! The command line, in two steps: what was written ([`raw`]), and what it means ([`Invocation`]).

pub(crate) mod argument;
mod name;
#[allow(rustdoc::bare_urls, rustdoc::broken_intra_doc_links, reason = "its texts are read on a terminal")]
pub(crate) mod raw;
mod resolve;

use std::ffi::OsString;
use std::time::Duration;

use minato_engine::FixedSubnet;
use minato_host::enter::Identity;
use minato_inspect::{ForwardSpec, Policy, PortRow, Transport};
use minato_ports::registry::Protocol;
use minato_ports::{Port, PortRange};

use crate::explain::Target;
use crate::file::Choice;
use crate::relay::Relay;
use crate::trust::Trust;
use crate::up::Up;
pub(crate) use name::Name;
pub(crate) use resolve::{claim_same, resolve};

/// A command line that makes sense.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Invocation {
    /// The network that was named.
    pub(crate) network: Option<Name>,
    /// What to do.
    pub(crate) command: Command,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Command {
    /// Run a program in a host of its own.
    Run(Run),
    /// Run a program in a host that is there.
    Exec(Exec),
    /// Run the hosts of a file.
    Up(Up),
    /// Run them in the background.
    Supervise(Up),
    /// End them.
    Down(Choice),
    /// Show what these hosts say (none: all), and whether to go on.
    Logs(Choice, Vec<Name>, bool),
    /// Show hosts, again and again with a pause.
    Ps(Choice, Option<Duration>),
    /// Check a file.
    Check(Choice),
    /// Show what the engine knows.
    Show(Show),
    /// Tell what happens, in the network or to one host.
    Watch(Option<Name>),
    /// Show or write the packets of a host.
    Capture(Capture),
    /// Add forwards to a host.
    AddForwards(Name, Which),
    /// Remove forwards from a host.
    RemoveForwards(Name, Which),
    /// Pass on what comes to some addresses.
    Relay(Relay),
    /// Serve every host's web server under a name of its own.
    Proxy,
    /// The same, for as long as there are networks.
    ProxyInBackground,
    /// Have a certificate authority for it.
    Trust(Trust),
    /// Hold free ports for servers to come.
    Lease(Lease),
    /// Be the process that holds leased ports: these and more.
    KeepLease(Lease, Vec<u16>),
    /// Look into the registry of port numbers.
    Service(ServiceQuery),
    /// Explain how a target is reached, as seen from this machine or from inside a host.
    Explain(Target, Option<Name>),
    /// Try a connection.
    Probe(std::net::SocketAddr, minato_ports::Transport),
    /// Resolve a name.
    Resolve(String),
    /// Tell what firewalls do to packets.
    Filter(String),
    /// Check the machine.
    Doctor,
    /// Tell the story of ports.
    Demo(Demo),
    /// Print a completion script.
    Completions(clap_complete::Shell),
    /// Print a manual page, or write all of them into a directory.
    Man(Option<std::path::PathBuf>),
    /// Print the version.
    Version,
    /// Be the engine.
    Engine(std::path::PathBuf, Option<FixedSubnet>),
    /// Be one part of the demo.
    DemoPart(raw::DemoPart),
}

impl Command {
    /// Whether it has to do with no network, or with all of them alike.
    fn is_of_the_machine(&self) -> bool {
        match self {
            Command::Show(show) => matches!(show.view, View::MachinePorts(_)),
            Command::Relay(_)
            | Command::Proxy
            | Command::ProxyInBackground
            | Command::Trust(_)
            | Command::Lease(_)
            | Command::KeepLease(..)
            | Command::Service(_)
            | Command::Doctor
            | Command::Completions(_)
            | Command::Man(_)
            | Command::Version => true,
            _ => false,
        }
    }
}

/// `minato run`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Run {
    /// The host's name, unless the engine is to derive one.
    pub(crate) name: Option<Name>,
    /// The subnet that its network is to have.
    pub(crate) subnet: Option<FixedSubnet>,
    /// Other networks that it joins.
    pub(crate) join: Vec<Name>,
    /// What to forward to it.
    pub(crate) forwards: Vec<ForwardSpec>,
    /// The kernel's ephemeral range in the host.
    pub(crate) ephemeral_range: Option<PortRange>,
    /// Ports of the machine's loopback that the gateway opens.
    pub(crate) host_ports: Vec<u16>,
    /// What it may reach beyond its network.
    pub(crate) policy: Policy,
    /// Whether the host goes without an address on the machine's loopback.
    pub(crate) no_loopback: bool,
    /// Whether its programs hold sockets of the machine for their connections from and to the outside.
    pub(crate) direct: bool,
    /// The program.
    pub(crate) program: Program,
}

/// `minato exec`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Exec {
    /// The host to join.
    pub(crate) host: Name,
    /// The program.
    pub(crate) program: Program,
}

/// `minato capture`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Capture {
    /// The host.
    pub(crate) host: Name,
    /// Only packets from or to these.
    pub(crate) ports: Option<PortFilter>,
    /// Where to write them; `None` shows them.
    pub(crate) write: Option<std::path::PathBuf>,
    /// How many.
    pub(crate) count: Option<u64>,
    /// How many bytes of each are written.
    pub(crate) snap_length: u32,
}

/// `minato lease`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Lease {
    /// How many ports.
    pub(crate) count: u16,
    /// What they are remembered by; a file name.
    pub(crate) key: Option<String>,
    /// How long they are held for a server that does not come.
    pub(crate) within: Duration,
}

/// Which forwards of a host to change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Which {
    /// `-p all`: to add, one for each port on which the host listens and that has none; to remove, every one.
    All,
    /// These.
    These(Vec<ForwardSpec>),
}

/// A program, its arguments and as whom it runs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Program {
    /// Name or path.
    pub(crate) name: OsString,
    /// What follows it.
    pub(crate) arguments: Vec<OsString>,
    /// As whom it runs.
    pub(crate) identity: Identity,
    /// Whether its user is told why binds fail.
    pub(crate) bind_watch: bool,
}

impl Program {
    /// The command line for display.
    pub(crate) fn display(&self) -> Vec<String> {
        let words = std::iter::once(&self.name).chain(&self.arguments);
        words.map(|word| word.to_string_lossy().into_owned()).collect()
    }
}

/// A view, and how often.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Show {
    /// What to show.
    pub(crate) view: View,
    /// Again and again, with this pause.
    pub(crate) watch: Option<Duration>,
}

/// What to show.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum View {
    /// Hosts and processes.
    Hosts,
    /// Bound ports, all or some.
    Ports(PortQuery),
    /// Bound ports of this machine itself, all or some.
    MachinePorts(PortQuery),
    /// Who talks to whom, all or one host's.
    Flows(Option<Name>),
    /// Forwards, all or one host's.
    Forwards(Option<Name>),
}

/// Which ports to show, and in which order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PortQuery {
    /// Only those that were asked for by number or name.
    pub(crate) filter: Option<PortFilter>,
    /// Only those in this host.
    pub(crate) of: Option<Name>,
    /// Only those of processes with this name.
    pub(crate) process: Option<String>,
    /// Only those of this transport.
    pub(crate) transport: Option<Transport>,
    /// In this order instead of the engine's: by host, port and transport.
    pub(crate) sort: Option<raw::PortOrder>,
}

impl PortQuery {
    /// The rows that were asked for, in the order that was asked for.
    pub(crate) fn choose(&self, rows: &mut Vec<PortRow>) {
        rows.retain(|row| self.matches(row));
        let process = |row: &PortRow| row.processes.first().map(|process| (process.name.clone(), process.pid));
        match self.sort {
            None => {}
            Some(raw::PortOrder::Port) => rows.sort_by_key(|row| (row.port, row.transport)),
            Some(raw::PortOrder::Host) => rows.sort_by(|one, other| one.host.cmp(&other.host)),
            // Unknown ones come last.
            Some(raw::PortOrder::Process) => rows.sort_by_key(|row| (row.processes.is_empty(), process(row))),
        }
    }

    /// Whether a row is among them.
    fn matches(&self, row: &PortRow) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.matches(row))
            && self.of.as_ref().is_none_or(|host| row.host.as_deref() == Some(host.as_str()))
            && self.process.as_ref().is_none_or(|name| row.processes.iter().any(|process| process.name == *name))
            && self.transport.is_none_or(|transport| transport == row.transport)
    }

    /// What was asked for, in words; nothing if that was everything.
    pub(crate) fn words(&self) -> Option<String> {
        let port = self.filter.as_ref().map(|filter| format!("to port {}", filter.text));
        let process = self.process.as_ref().map(|name| format!("by {name}"));
        let transport = self.transport.map(|transport| format!("for {}", crate::render::transport(transport)));
        let host = self.of.as_ref().map(|host| format!("in {host}"));
        let words: Vec<String> = [port, process, transport, host].into_iter().flatten().collect();
        (!words.is_empty()).then(|| words.join(" "))
    }
}

/// Ports by number or name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PortFilter {
    /// As it was written.
    pub(crate) text: String,
    /// The numbers, or those that the name is registered for.
    pub(crate) ports: PortRange,
    /// Only of this transport.
    pub(crate) transport: Option<Transport>,
}

impl PortFilter {
    /// Whether a row is among them.
    pub(crate) fn matches(&self, row: &PortRow) -> bool {
        Port::new(row.port).is_some_and(|port| self.ports.contains(port))
            && self.transport.is_none_or(|transport| transport == row.transport)
    }
}

/// What to look for in the registry.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ServiceQuery {
    /// What is registered.
    pub(crate) key: ServiceKey,
    /// Only for this protocol; `None` is all.
    pub(crate) protocol: Option<Protocol>,
}

/// How a service is known.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ServiceKey {
    /// Numbers.
    Range(PortRange),
    /// A name or a part of one.
    Name(String),
}

/// `minato demo`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Demo {
    /// Tell what would be without port numbers.
    pub(crate) without_ports: bool,
    /// End after the story.
    pub(crate) once: bool,
    /// What is added to a service's port to get the machine's port that leads to it.
    pub(crate) port_base: u16,
}

#[cfg(test)]
mod tests;
