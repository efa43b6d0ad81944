//! `minato forward ls`: which host ports lead where.

use std::net::SocketAddr;

use minato_inspect::{Forward, ForwardState};

use super::table::{Cell, Column, Table, Tone};
use super::{Look, bytes, transport};

/// The table of forwards.
pub(crate) fn forwards(forwards: &[Forward], look: &Look) -> String {
    let mut table = Table::new([
        Column::shrinks("FROM", 14),
        Column::shrinks("TO", 10),
        Column::fixed("STATE"),
        Column::number("CONNECTIONS"),
        Column::number("IN"),
        Column::number("OUT"),
    ]);
    for forward in forwards {
        let from = SocketAddr::new(forward.address, forward.host_port);
        table.row([
            format!("{from}/{}", transport(forward.transport)).into(),
            format!("{}:{}", forward.host, forward.service_port).into(),
            state(forward.state),
            forward.connections.to_string().into(),
            bytes(forward.bytes_in).into(),
            bytes(forward.bytes_out).into(),
        ]);
    }
    table.render(look)
}

fn state(state: ForwardState) -> Cell {
    match state {
        ForwardState::Open => Cell::new("open", Tone::Good),
        ForwardState::Held => Cell::new("nobody listens", Tone::Odd),
    }
}
