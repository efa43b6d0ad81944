//! `minato flows`: who talks to whom.

use std::net::IpAddr;

use minato_inspect::{Endpoint, Flow, FlowState, Transport};

use super::table::{Cell, Column, Table, Tone};
use super::{Look, NONE, age, holders, maybe_bytes, printable, process};

/// Terminals from this width on have room for how well a flow goes.
const WIDE: usize = 100;

const COLUMNS: [Column; 9] = [
    Column::shrinks("CLIENT", 16),
    Column::fixed("PORT"),
    Column::shrinks("SERVER", 16),
    Column::fixed("STATE"),
    Column::number("AGE"),
    Column::number("IN"),
    Column::number("OUT"),
    Column::number("RTT"),
    Column::number("RESENT"),
];

/// The table of flows.
pub(crate) fn flows(flows: &[Flow], look: &Look) -> String {
    if look.width.is_none_or(|width| width >= WIDE) {
        with_columns::<9>(flows, look)
    } else {
        with_columns::<7>(flows, look)
    }
}

/// The table with the first `N` of its columns.
fn with_columns<const N: usize>(flows: &[Flow], look: &Look) -> String {
    let mut table: Table<N> = Table::new(std::array::from_fn(|index| COLUMNS[index]));
    for flow in flows {
        let cells: [Cell; 9] = [
            party(&flow.client).into(),
            format!("{} →", flow.client.port).into(),
            server(flow).into(),
            state(flow.state),
            flow.age_seconds.map_or_else(|| NONE.into(), age).into(),
            maybe_bytes(flow.bytes_in).into(),
            maybe_bytes(flow.bytes_out).into(),
            flow.rtt_micros.map_or_else(|| NONE.into(), round_trip).into(),
            flow.retransmits.map_or_else(|| NONE.into(), |count| count.to_string()).into(),
        ];
        table.row(std::array::from_fn(|index| cells[index].clone()));
    }
    table.render(look)
}

/// A round-trip time: `85µs`, `1.2ms`, `35ms`.
fn round_trip(micros: u64) -> String {
    match micros {
        0..1000 => format!("{micros}µs"),
        1000..10_000 => format!("{:.1}ms", micros as f64 / 1000.0),
        _ => format!("{}ms", micros / 1000),
    }
}

/// Host and process of one end, or its address.
pub(super) fn party(end: &Endpoint) -> String {
    place(end) + &holder(end)
}

/// Host, port and process of the side that was addressed, and the forward that led there. TCP goes without saying.
pub(super) fn server(flow: &Flow) -> String {
    let end = &flow.server;
    let suffix = if flow.transport == Transport::Udp { "/udp" } else { "" };
    let way = if flow.direct { " direct" } else { "" };
    let forward = flow.via.map(|via| format!(" via {via}")).unwrap_or_default();
    format!("{}:{}{suffix}{way}{}{forward}", place(end), end.port, holder(end))
}

/// The process of an end behind its place, if there is something to say of it.
fn holder(end: &Endpoint) -> String {
    match (&end.process, end.process_unknown) {
        (Some(holder), _) => format!(" {}", process(holder)),
        (None, Some(unknown)) => format!(" {}", holders(&[], Some(unknown))),
        (None, None) => String::new(),
    }
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
