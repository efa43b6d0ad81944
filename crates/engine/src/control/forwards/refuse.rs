//! Why a port can't be held, as the user is told.

use std::net::IpAddr;

use minato_host::sockets::HoldError;
use minato_inspect::{ForwardSpec, Holder, Problem, ProblemKind};

use super::expand::Wanted;
use crate::convert;
use crate::problem::{problem, with_fix};
use crate::unheld;

/// A forward of our own has it.
pub(in super::super) fn held_by_forward(wanted: Wanted, host: &str, other: Option<ForwardSpec>) -> Problem {
    let title = format!("{}/{} is in use by a forward to host {host:?}", wanted.address, wanted.transport);
    let holder = Holder {
        address: wanted.address.ip(),
        port: wanted.port.value(),
        transport: convert::to_inspect(wanted.transport),
        processes: Vec::new(),
        unknown: None,
        host: Some(host.to_owned()),
    };
    let conflict = Problem { holder: Some(Box::new(holder)), ..problem(ProblemKind::Conflict, title) };
    // One that is only being added, or removed, has no name yet, or none any more.
    match other {
        Some(other) => with_fix(conflict, format!("minato forward rm -p {} {host}", spelled(&other))),
        None => conflict,
    }
}

/// The machine's kernel refused.
pub(in super::super) fn by_machine(wanted: Wanted, error: HoldError) -> Problem {
    let instead = match error {
        HoldError::Privileged { address, first } => {
            let port = unheld::unprivileged(address.port(), first);
            Some(format!("use a port from {first} on: -p {}", argument(wanted, port)))
        }
        HoldError::NoSuchAddress(_) => {
            Some("leave the address out for 127.0.0.1 and ::1, or use 0.0.0.0 or [::] for all".to_owned())
        }
        HoldError::InUse(_) | HoldError::FileLimit { .. } | HoldError::Io(_) => None,
    };
    instead.into_iter().fold(unheld::refused(wanted.address, wanted.transport, error), with_fix)
}

/// More forwards than the limit of open files allows.
pub(super) fn too_many(others: usize, wanted: usize, max: usize) -> Problem {
    let besides = if others == 0 { String::new() } else { format!(" besides {others}") };
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let limit = limit.map(|limit| format!(" ({limit})")).unwrap_or_default();
    let title = format!("{wanted} more forwards{besides} are too many: the limit of open files{limit} allows {max}");
    with_fix(problem(ProblemKind::Exhausted, title), unheld::MORE_FILES)
}

pub(super) fn no_such_forward(host: &str, wanted: Wanted) -> Problem {
    let end = format!("{}:{}/{}", wanted.address, wanted.service_port, wanted.transport);
    let missing = problem(ProblemKind::NotFound, format!("host {host:?} has no forward {end}"));
    with_fix(missing, "minato forward ls")
}

pub(super) fn without_ipv6(wanted: Wanted) -> String {
    format!("the forward of port {} is IPv4 only: this machine has no address ::1", wanted.port)
}

/// Names a port that could be had instead.
pub(super) fn with_port(failure: Problem, wanted: Wanted, port: u16) -> Problem {
    with_fix(failure, format!("the next free port is {port}: -p {}", argument(wanted, port)))
}

/// How this forward would be asked for at another port.
fn argument(wanted: Wanted, port: u16) -> String {
    spelled(&ForwardSpec {
        address: (!wanted.is_default).then_some(wanted.address.ip()),
        host_ports: (port, port),
        service_ports: (wanted.service_port, wanted.service_port),
        transport: convert::to_inspect(wanted.transport),
    })
}

/// A single forward as the command line takes it.
fn spelled(spec: &ForwardSpec) -> String {
    let address = match spec.address {
        None => String::new(),
        Some(IpAddr::V4(address)) => format!("{address}:"),
        Some(IpAddr::V6(address)) => format!("[{address}]:"),
    };
    let suffix = if spec.transport == minato_inspect::Transport::Udp { "/udp" } else { "" };
    format!("{address}{}:{}{suffix}", spec.host_ports.0, spec.service_ports.0)
}
