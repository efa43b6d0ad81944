//! `minato watch`: one line for each event.

use minato_inspect::{BoundSocket, Collision, EgressRefusal, Event, Flow, ForwardChange, Happening, Joined};

use super::flows::{party, server};
use super::hosts::forward;
use super::{age, holders, maybe_bytes, printable, transport};

/// A line: when (UTC), what, and the particulars.
pub(crate) fn event(event: &Event) -> String {
    let (word, text) = match &event.what {
        Happening::HostStarted { host, address_v4, address_v6 } => {
            ("host", format!("{} started: {}", printable(host), listed(address_v4, address_v6.as_ref())))
        }
        Happening::HostEnded { host } => ("host", format!("{} ended", printable(host))),
        Happening::Bind(bound) => ("bind", socket(bound)),
        Happening::Listen(bound) => ("listen", socket(bound)),
        Happening::Release(bound) => ("release", socket(bound)),
        Happening::FlowStarted { flow, .. } => ("flow", format!("{} started", ends(flow))),
        Happening::FlowEnded { flow, .. } => ("flow", format!("{} ended{}", ends(flow), account(flow))),
        Happening::ForwardsAdded(change) => ("forward", forwards(change, "added")),
        Happening::ForwardsRemoved(change) => ("forward", forwards(change, "removed")),
        Happening::ForwardsOpened(change) => ("forward", forwards(change, "open: the service listens")),
        Happening::ForwardsClosed(change) => ("forward", forwards(change, "held: the service does not listen")),
        Happening::EgressRefused(refusal) => ("refused", refused(refusal)),
        Happening::HostJoined { host, home, joined } => {
            let Joined { network, address_v4, address_v6 } = joined;
            let host = printable(&format!("{host} of {home} joined {network}"));
            ("host", format!("{host}: {}", listed(address_v4, address_v6.as_ref())))
        }
        Happening::HostLeft { host, home, network } => {
            ("host", printable(&format!("{host} of {home} is no longer in {network}")))
        }
        Happening::Collision(Collision { hidden, what }) => {
            ("subnet", format!("the machine has {}: hosts can't reach {hidden} beyond the network", printable(what)))
        }
        Happening::CollisionEnded(Collision { what, .. }) => {
            ("subnet", format!("the machine no longer has {}", printable(what)))
        }
        Happening::SubnetChanged { subnet_v4, subnet_v6 } => {
            ("subnet", format!("the network has {} now", printable(&listed(subnet_v4, subnet_v6.as_ref()))))
        }
        Happening::EventsLost { count } => ("lost", format!("{count} events: they came faster than they were read")),
        Happening::EngineStopping { reason } => ("engine", format!("stopping: {}", printable(reason))),
    };
    format!("{}  {word:<7}  {text}\n", clock(event.time))
}

/// What a policy refused: who, where to, and why.
fn refused(refusal: &EgressRefusal) -> String {
    let EgressRefusal { host, process, name, address, port, reason, untold, .. } = refusal;
    let who =
        process.as_ref().map_or_else(|| host.clone(), |process| format!("{host} {} {}", process.name, process.pid));
    let place = match (address, port) {
        (Some(address), Some(port)) => std::net::SocketAddr::new(*address, *port).to_string(),
        (Some(address), None) => format!("{address} (ICMP echo)"),
        (None, _) => format!("the name {}", name.as_deref().unwrap_or("?")),
    };
    let before = if *untold == 0 { String::new() } else { format!(" ({untold} more before)") };
    printable(&format!("{who} → {place}{}: {reason}{before}", protocol(refusal)))
}

fn protocol(refusal: &EgressRefusal) -> String {
    refusal.transport.map_or_else(String::new, |of| format!("/{}", transport(of)))
}

/// The time of day in UTC.
pub(super) fn clock(time: f64) -> String {
    let millis = (time.max(0.0) * 1000.0) as u64;
    let (hours, minutes, seconds) = (millis / 3_600_000 % 24, millis / 60_000 % 60, millis / 1000 % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}.{:03}Z", millis % 1000)
}

fn socket(bound: &BoundSocket) -> String {
    let BoundSocket { host, address, dual_stack, port, .. } = bound;
    let address = match (address.is_unspecified(), dual_stack, address.is_ipv4()) {
        (true, true, _) => "* (v4+v6)".to_owned(),
        (true, false, true) => "* (v4)".to_owned(),
        (true, false, false) => "* (v6)".to_owned(),
        (false, ..) => address.to_string(),
    };
    let registered = bound.registered.as_deref().map_or_else(String::new, |name| format!(" {}", printable(name)));
    let holders = holders(&bound.processes, bound.process_unknown);
    format!("{} {address} {port}/{}{registered}: {holders}", printable(host), transport(bound.transport))
}

fn ends(flow: &Flow) -> String {
    format!("{} :{} → {}", party(&flow.client), flow.client.port, server(flow))
}

/// What is known of a flow at its end.
fn account(flow: &Flow) -> String {
    let after = flow.age_seconds.map_or_else(String::new, |seconds| format!(" after {}", age(seconds)));
    match (flow.bytes_in, flow.bytes_out) {
        (None, None) => after,
        (bytes_in, bytes_out) => format!("{after}: {} in, {} out", maybe_bytes(bytes_in), maybe_bytes(bytes_out)),
    }
}

fn forwards(change: &ForwardChange, what: &str) -> String {
    let all = change.forwards.iter().map(forward).collect::<Vec<_>>().join(", ");
    format!("{all} of {} {what}", printable(&change.host))
}

/// What there is of both families.
fn listed(v4: &impl std::fmt::Display, v6: Option<&impl std::fmt::Display>) -> String {
    v6.map_or_else(|| v4.to_string(), |v6| format!("{v4}, {v6}"))
}
