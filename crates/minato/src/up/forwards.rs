//! Forwards whose ports nobody has named: free ones, chosen with the engine, which holds them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;

use minato_inspect::{ForwardRequest, ForwardSpec, ProblemKind, Transport};

use super::context::Context;
use crate::client::RequestError;
use crate::failure::{Failure, code};
use crate::file::{FREE_PORTS, Forward, HostPorts};
use crate::flags::{Name, argument};
use crate::render;

/// How many places are tried.
const ATTEMPTS: u16 = 500;

/// Adds those forwards of a host that have no port of the machine yet, says which they got, and returns them.
pub(super) async fn add_free(
    context: &Context,
    host: &Name,
    forwards: &[Forward],
) -> Result<Vec<ForwardSpec>, Failure> {
    let mut added = Vec::new();
    for forward in forwards.iter().filter(|forward| forward.fixed().is_none()) {
        let spec = add_one(context, host, forward).await?;
        let instead = match forward.host_ports {
            HostPorts::InsteadOf(first, _) => {
                format!(" instead of {first}, which is for the network without --instance")
            }
            HostPorts::Any | HostPorts::Fixed(..) => String::new(),
        };
        context.say(&format!("port {} of {host} is at {}{instead}", render::range(spec.service_ports), place(&spec)));
        added.push(spec);
    }
    Ok(added)
}

/// A failure whose proposals of other ports are as a file has them, which knows no `-p`.
pub(super) fn as_in_file(mut failure: Failure) -> Failure {
    for fix in &mut failure.fixes {
        let Some((free, spelled)) = fix.split_once(": -p ") else { continue };
        let Ok(spec) = argument::forward(spelled) else { continue };
        let transport = if spec.transport == Transport::Udp { "/udp" } else { "" };
        let port = spec.service_ports.0;
        let key = if transport.is_empty() { port.to_string() } else { format!("\"{port}{transport}\"") };
        let value = match spec.address {
            None => spec.host_ports.0.to_string(),
            Some(address) => format!("\"{}\"", SocketAddr::new(address, spec.host_ports.0)),
        };
        *fix = format!("{free}: ports = {{ {key} = {value} }}");
    }
    failure
}

/// Where a forward is on this machine.
pub(super) fn place(spec: &ForwardSpec) -> String {
    let ports = render::range(spec.host_ports);
    match spec.address {
        None => format!("localhost:{ports}"),
        Some(address) if address.is_ipv4() => format!("{address}:{ports}"),
        Some(address) => format!("[{address}]:{ports}"),
    }
}

async fn add_one(context: &Context, host: &Name, forward: &Forward) -> Result<ForwardSpec, Failure> {
    // Not more than there are: the file was refused otherwise.
    let length = forward.service_ports.1 - forward.service_ports.0 + 1;
    for first in candidates(context, host, forward, length) {
        let spec = forward.at((first, first + length - 1));
        let request = ForwardRequest { host: host.to_string(), forwards: vec![spec.clone()] };
        match context.client.add_forwards(&request).await {
            Ok(_) => return Ok(spec),
            Err(RequestError::Refused(problem)) if problem.kind == ProblemKind::Conflict => {}
            Err(error) => return Err(error.into_failure(&context.client)),
        }
    }
    let title = format!("no free port of this machine was found for port {} of {host}", forward.service_ports.0);
    Err(Failure::new(code::EXHAUSTED, title).detail(format!("looked for {length} in a row from {FREE_PORTS:?}")))
}

/// Places to try: the same ones for the same network, host and port each time, so that addresses stay what they were as
/// long as nobody else takes them.
fn candidates(context: &Context, host: &Name, forward: &Forward, length: u16) -> impl Iterator<Item = u16> {
    let mut hasher = DefaultHasher::new();
    let transport = forward.transport == Transport::Udp;
    (context.network.as_str(), host.as_str(), forward.service_ports, transport).hash(&mut hasher);
    let room = u64::from((FREE_PORTS.end - FREE_PORTS.start) / length.min(FREE_PORTS.end - FREE_PORTS.start));
    let start = hasher.finish() % room.max(1);
    let place = move |index: u64| FREE_PORTS.start + ((start + index) % room.max(1)) as u16 * length;
    (0..u64::from(ATTEMPTS).min(room)).map(place)
}
