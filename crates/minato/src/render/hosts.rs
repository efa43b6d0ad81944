//! `minato ps`: hosts and their processes.

use std::net::{IpAddr, SocketAddr};

use minato_inspect::{Forward, ForwardSpec, Host, Process};

use super::table::{Cell, Column, Table, Tone};
use super::{Look, NONE, age, printable, transport};

/// The table of hosts, a row for each process.
pub(crate) fn hosts(hosts: &[Host], look: &Look) -> String {
    let mut table = Table::new([
        Column::shrinks("HOST", 8),
        Column::shrinks("ADDRESS", 9),
        Column::shrinks("LOOPBACK", 10),
        Column::number("PID"),
        Column::number("AGE"),
        Column::shrinks("FORWARDS", 12),
        Column::shrinks("COMMAND", 16),
    ]);
    for host in hosts {
        let forwards = host.forwards.iter().map(forward).collect::<Vec<_>>().join(" ");
        let forwards = if forwards.is_empty() { NONE.to_owned() } else { forwards };
        let loopback = host.loopback_v4.map_or_else(|| NONE.to_owned(), |address| address.to_string());
        let (name, address) = (name(host), address(host));
        if host.processes.is_empty() {
            let none = Cell::new("no process", Tone::Odd);
            table.row([
                name.clone().into(),
                address.clone().into(),
                loopback.clone().into(),
                NONE.into(),
                age(host.age_seconds).into(),
                forwards.clone().into(),
                none,
            ]);
        }
        for (index, process) in host.processes.iter().enumerate() {
            let first = |text: &str| if index == 0 { text.to_owned() } else { String::new() };
            table.row([
                first(&name).into(),
                first(&address).into(),
                first(&loopback).into(),
                process.pid.to_string().into(),
                age(process.age_seconds).into(),
                first(&forwards).into(),
                command(process).into(),
            ]);
        }
    }
    table.render(look)
}

/// Its name, and whose it is.
fn name(host: &Host) -> String {
    host.home.as_ref().map_or_else(|| host.name.clone(), |home| format!("{} of {}", host.name, printable(home)))
}

/// Its address, and those in other networks.
fn address(host: &Host) -> String {
    let joined =
        host.networks.iter().map(|joined| format!(", {} in {}", joined.address_v4, printable(&joined.network)));
    host.address_v4.to_string() + &joined.collect::<String>()
}

/// The command line; the short name where it can't be read.
fn command(process: &Process) -> String {
    if process.command.is_empty() {
        return format!("[{}]", printable(&process.name));
    }
    printable(&process.command.join(" "))
}

/// A forward as `-p` spells it.
pub(super) fn forward(spec: &ForwardSpec) -> String {
    let host = range(spec.host_ports);
    let place = match spec.address {
        None => host,
        // The socket address's own form brackets IPv6; its port is cut off again.
        Some(address) => SocketAddr::new(address, 0).to_string().trim_end_matches('0').to_owned() + &host,
    };
    let suffix = if transport(spec.transport) == "udp" { "/udp" } else { "" };
    format!("{place}:{}{suffix}", range(spec.service_ports))
}

/// How `-p` spells a forward like an existing one, at this address (`None`: both loopback addresses) and to this port.
pub(crate) fn spelled(existing: &Forward, address: Option<IpAddr>, service_port: u16) -> String {
    forward(&ForwardSpec {
        address,
        host_ports: (existing.host_port, existing.host_port),
        service_ports: (service_port, service_port),
        transport: existing.transport,
    })
}

/// A port, or a range of them.
pub(crate) fn range((first, last): (u16, u16)) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}
