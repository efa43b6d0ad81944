//! `minato flows`: who talks to whom.

use std::net::IpAddr;

use minato_inspect::{Endpoint, Flow, FlowState, Transport};

use super::table::{Cell, Column, Table, Tone};
use super::{Look, NONE, age, maybe_bytes, printable, process};

/// The table of flows.
pub(crate) fn flows(flows: &[Flow], look: &Look) -> String {
    let mut table = Table::new([
        Column::shrinks("CLIENT", 16),
        Column::fixed("PORT"),
        Column::shrinks("SERVER", 16),
        Column::fixed("STATE"),
        Column::number("AGE"),
        Column::number("IN"),
        Column::number("OUT"),
    ]);
    for flow in flows {
        table.row([
            party(&flow.client).into(),
            format!("{} →", flow.client.port).into(),
            server(flow).into(),
            state(flow.state),
            flow.age_seconds.map_or_else(|| NONE.into(), age).into(),
            maybe_bytes(flow.bytes_in).into(),
            maybe_bytes(flow.bytes_out).into(),
        ]);
    }
    table.render(look)
}

/// Host and process of one end, or its address.
pub(super) fn party(end: &Endpoint) -> String {
    match &end.process {
        Some(holder) => format!("{} {}", place(end), process(holder)),
        None => place(end),
    }
}

/// Host, port and process of the side that was addressed. TCP goes without saying.
pub(super) fn server(flow: &Flow) -> String {
    let end = &flow.server;
    let suffix = if flow.transport == Transport::Udp { "/udp" } else { "" };
    let way = if flow.direct { " direct" } else { "" };
    let port = format!("{}:{}{suffix}{way}", place(end), end.port);
    end.process.as_ref().map_or_else(|| port.clone(), |holder| format!("{port} {}", process(holder)))
}

fn place(end: &Endpoint) -> String {
    let name = end.host.as_deref().or(end.name.as_deref());
    name.map_or_else(|| address(end.address), printable)
}

fn address(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

fn state(state: FlowState) -> Cell {
    match state {
        FlowState::Connecting => Cell::new("connecting", Tone::Odd),
        FlowState::Established => Cell::new("established", Tone::Good),
        FlowState::HalfClosed => Cell::new("half-closed", Tone::Plain),
        FlowState::Closing => Cell::new("closing", Tone::Plain),
        FlowState::TimeWait => Cell::new("time-wait", Tone::Faint),
    }
}
