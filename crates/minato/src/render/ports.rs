//! `minato ports`: who is bound where.

use std::collections::HashMap;
use std::net::IpAddr;

use minato_inspect::{Forward, ForwardState, PortRow, Transport};

use super::table::{Cell, Column, Table, Tone};
use super::{Look, NONE, class, holders, printable, transport};

/// The table of bound ports. Neighbours that differ in nothing but their numbers are one line.
pub(crate) fn ports(rows: &[PortRow], look: &Look) -> String {
    // What matters most keeps its width longest: "127.0.0.1 only", a process with its ID, "127.0.0.1:8080".
    let mut table = Table::new([
        Column::shrinks("HOST", 5),
        Column::shrinks("BIND", 14),
        Column::fixed("PORT"),
        Column::shrinks("CLASS", 5),
        Column::shrinks("REGISTERED", 7),
        Column::shrinks("PROCESS", 13),
        Column::shrinks("REACH", 15),
    ]);
    for run in runs(rows) {
        let (row, last) = (run[0], run[run.len() - 1]);
        let loopback_only = row.addresses.iter().all(IpAddr::is_loopback);
        let one_name = run.iter().all(|other| other.registered == row.registered);
        let registered = row.registered.as_deref().filter(|_| one_name).map_or_else(|| NONE.to_owned(), printable);
        let until = if run.len() > 1 { format!("-{}", last.port) } else { String::new() };
        table.row([
            row.host.as_deref().unwrap_or(NONE).into(),
            Cell::new(bind(row), if loopback_only { Tone::Odd } else { Tone::Plain }),
            format!("{}{until}/{}", row.port, transport(row.transport)).into(),
            class(row.class).into(),
            registered.into(),
            holders(&row.processes, row.process_unknown).into(),
            reach(&run),
        ]);
    }
    table.render(look)
}

/// Rows that are shown as one: each run is of one program, and its ports follow each other. TCP and UDP may take turns.
fn runs(rows: &[PortRow]) -> Vec<Vec<&PortRow>> {
    let mut runs: Vec<Vec<&PortRow>> = Vec::new();
    // Where a run goes on, if it does: by what the next row must be.
    let mut ends: HashMap<(Option<&str>, u16, Transport), usize> = HashMap::new();
    for row in rows {
        let here = (row.host.as_deref(), row.port, row.transport);
        let known = ends.remove(&here).filter(|index| runs[*index].last().is_some_and(|last| continues(last, row)));
        let index = known.unwrap_or(runs.len());
        match runs.get_mut(index) {
            Some(run) => run.push(row),
            None => runs.push(vec![row]),
        }
        if let Some(next) = row.port.checked_add(1) {
            ends.insert((row.host.as_deref(), next, row.transport), index);
        }
    }
    runs
}

/// Whether a row is like the one before it, with the next number, and so are the forwards that lead to it.
fn continues(one: &PortRow, next: &PortRow) -> bool {
    let pids = |row: &PortRow| row.processes.iter().map(|process| process.pid).collect::<Vec<_>>();
    let alike = (&one.addresses, one.dual_stack, one.listening, one.class, one.process_unknown)
        == (&next.addresses, next.dual_stack, next.listening, next.class, next.process_unknown);
    let forwards = one.forwarded_from.len() == next.forwarded_from.len()
        && one.forwarded_from.iter().zip(&next.forwarded_from).all(|(one, next)| {
            (one.address, one.state, one.automatic) == (next.address, next.state, next.automatic)
                && one.host_port.checked_add(1) == Some(next.host_port)
        });
    // Neighbours with unknown holders may have different ones; the line says no more than that they are unknown.
    alike && forwards && pids(one) == pids(next)
}

/// The bound addresses in words.
pub(crate) fn bind(row: &PortRow) -> String {
    let any_v4 = row.addresses.iter().any(|address| address.is_unspecified() && address.is_ipv4());
    let any_v6 = row.addresses.iter().any(|address| address.is_unspecified() && address.is_ipv6());
    let wildcard = match (any_v4, any_v6, row.dual_stack) {
        (true, true, _) | (false, true, true) => Some("* (v4+v6)"),
        (true, false, _) => Some("* (v4)"),
        (false, true, false) => Some("* (v6)"),
        (false, false, _) => None,
    };
    let specific = row.addresses.iter().filter(|address| !address.is_unspecified()).map(ToString::to_string);
    let mut text = wildcard.map(str::to_owned).into_iter().chain(specific).collect::<Vec<_>>().join(", ");
    if row.addresses.iter().all(IpAddr::is_loopback) {
        text += " only";
    }
    text
}

/// How clients of the machine get there.
fn reach(run: &[&PortRow]) -> Cell {
    let (row, further) = (run[0], u16::try_from(run.len() - 1).unwrap_or(u16::MAX));
    if !row.listening {
        return Cell::new("not listening", Tone::Odd);
    }
    if row.forwarded_from.is_empty() {
        return Cell::new(NONE, Tone::Faint);
    }
    let open = row.forwarded_from.iter().all(|forward| forward.state == ForwardState::Open);
    let mut forwards: Vec<&Forward> = row.forwarded_from.iter().collect();
    // What somebody has asked for comes first.
    forwards.sort_by_key(|forward| forward.automatic);
    let places = forwards.into_iter().map(|forward| place(forward, further)).collect::<Vec<_>>().join(", ");
    Cell::new(places, if open { Tone::Good } else { Tone::Odd })
}

/// The machine's address and port of a forward, and those of as many further ones.
fn place(forward: &Forward, further: u16) -> String {
    let first = forward.place();
    if further == 0 { first.to_string() } else { format!("{first}-{}", forward.host_port.saturating_add(further)) }
}
