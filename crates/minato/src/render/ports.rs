//! `minato ports`: who is bound where.

use std::net::{IpAddr, SocketAddr};

use minato_inspect::{Forward, ForwardState, PortRow};

use super::table::{Cell, Column, Table, Tone};
use super::{Look, NONE, class, holders, printable, transport};

/// The table of bound ports.
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
    for row in rows {
        let loopback_only = row.addresses.iter().all(IpAddr::is_loopback);
        let registered = row.registered.as_deref().map_or_else(|| NONE.to_owned(), printable);
        table.row([
            row.host.as_deref().unwrap_or(NONE).into(),
            Cell::new(bind(row), if loopback_only { Tone::Odd } else { Tone::Plain }),
            format!("{}/{}", row.port, transport(row.transport)).into(),
            class(row.class).into(),
            registered.into(),
            holders(&row.processes, row.process_unknown).into(),
            reach(row),
        ]);
    }
    table.render(look)
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
fn reach(row: &PortRow) -> Cell {
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
    let places = forwards.into_iter().map(place).collect::<Vec<_>>().join(", ");
    Cell::new(places, if open { Tone::Good } else { Tone::Odd })
}

fn place(forward: &Forward) -> String {
    SocketAddr::new(forward.address, forward.host_port).to_string()
}
