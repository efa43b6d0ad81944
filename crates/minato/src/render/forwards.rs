//! `minato forward ls`: which host ports lead where.

use minato_inspect::{Forward, ForwardState};

use super::table::{Cell, Column, Table, Tone};
use super::{Look, bytes, transport};

/// The table of forwards. Neighbours that differ in nothing but their numbers are one line.
pub(crate) fn forwards(forwards: &[Forward], look: &Look) -> String {
    let mut table = Table::new([
        Column::shrinks("FROM", 14),
        Column::shrinks("TO", 10),
        Column::fixed("STATE"),
        Column::number("CONNECTIONS"),
        Column::number("IN"),
        Column::number("OUT"),
    ]);
    for run in forwards.chunk_by(continues) {
        let (first, last) = (&run[0], &run[run.len() - 1]);
        let from = first.place();
        let sum = |count: fn(&Forward) -> u64| run.iter().map(count).fold(0, u64::saturating_add);
        table.row([
            format!("{from}{}/{}", until(run, last.host_port), transport(first.transport)).into(),
            format!("{}:{}{}", first.host, first.service_port, until(run, last.service_port)).into(),
            state(first),
            sum(|forward| forward.connections).to_string().into(),
            bytes(sum(|forward| forward.bytes_in)).into(),
            bytes(sum(|forward| forward.bytes_out)).into(),
        ]);
    }
    table.render(look)
}

fn continues(one: &Forward, next: &Forward) -> bool {
    let key = |forward: &Forward| {
        (forward.address, forward.transport, forward.state, forward.automatic, forward.host.clone())
    };
    let ports = one.host_port.checked_add(1) == Some(next.host_port);
    ports && one.service_port.checked_add(1) == Some(next.service_port) && key(one) == key(next)
}

/// The end of a range, if there is more than one.
fn until(run: &[Forward], last: u16) -> String {
    if run.len() > 1 { format!("-{last}") } else { String::new() }
}

fn state(forward: &Forward) -> Cell {
    match forward.state {
        ForwardState::Open if forward.automatic => Cell::new("open (automatic)", Tone::Good),
        ForwardState::Open => Cell::new("open", Tone::Good),
        ForwardState::Held => Cell::new("nobody listens", Tone::Odd),
        ForwardState::OtherFamily if forward.address.is_ipv4() => Cell::new("service is IPv6 only", Tone::Odd),
        ForwardState::OtherFamily => Cell::new("service is IPv4 only", Tone::Odd),
    }
}
