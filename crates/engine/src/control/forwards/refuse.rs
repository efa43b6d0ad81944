//! Why a port can't be held, as the user is told.

use std::net::IpAddr;

use minato_host::holder;
use minato_host::sockets::HoldError;
use minato_inspect::{ForwardSpec, Holder, Problem, ProblemKind};

use super::expand::Wanted;
use crate::convert;
use crate::problem::{internal, problem, with_fix};
use crate::rows;

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
    match error {
        HoldError::InUse(_) => in_use(wanted),
        HoldError::Privileged { address, first } => {
            let setting = "net.ipv4.ip_unprivileged_port_start";
            let title = format!("{address} is privileged: this machine's {setting} is {first}");
            let refusal = problem(ProblemKind::Privileged, title);
            let refusal = with_fix(refusal, format!("sudo sysctl {setting}={}", address.port()));
            let unprivileged = u16::try_from(u32::from(address.port()) + 8000).unwrap_or(8080).max(first);
            with_fix(refusal, format!("use a port from {first} on: -p {}", argument(wanted, unprivileged)))
        }
        HoldError::NoSuchAddress(address) => {
            let refusal = problem(ProblemKind::WrongAddress, format!("{} is no address of this machine", address.ip()));
            with_fix(refusal, "leave the address out for 127.0.0.1 and ::1, or use 0.0.0.0 or [::] for all")
        }
        HoldError::FileLimit { limit } => {
            let title = format!("{} can't be held: the limit of open files ({limit}) is reached", wanted.address);
            with_fix(problem(ProblemKind::Exhausted, title), "raise the hard limit: ulimit -Hn")
        }
        HoldError::Io(error) => internal(format!("can't bind {}: {error}", wanted.address)),
    }
}

/// More forwards than the limit of open files allows.
pub(super) fn too_many(others: usize, wanted: usize, max: usize) -> Problem {
    let besides = if others == 0 { String::new() } else { format!(" besides {others}") };
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let limit = limit.map(|limit| format!(" ({limit})")).unwrap_or_default();
    let title = format!("{wanted} more forwards{besides} are too many: the limit of open files{limit} allows {max}");
    with_fix(problem(ProblemKind::Exhausted, title), "raise the hard limit: ulimit -Hn")
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

/// A socket of another program has it.
fn in_use(wanted: Wanted) -> Problem {
    let found = holder::holders(convert::to_host(wanted.transport), wanted.address.ip(), wanted.port.value());
    let first = found.ok().and_then(|holders| holders.into_iter().next());
    let holder = rows::holder(first.as_ref(), wanted.address, wanted.transport);
    let title = match first.and_then(|holder| holder.remote) {
        Some(remote) => format!("{}/{} is in use by a connection to {remote}", wanted.address, wanted.transport),
        None => format!("{}/{} is in use", wanted.address, wanted.transport),
    };
    Problem { holder: Some(Box::new(holder)), ..problem(ProblemKind::Conflict, title) }
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
