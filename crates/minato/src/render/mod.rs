//! Views as text: pure functions from the API's types to what is printed.

mod checks;
mod events;
mod explanation;
mod flows;
mod forwards;
mod hosts;
mod packets;
mod ports;
mod services;
pub(crate) mod table;

use minato_inspect::{PortClass, Process, Transport, Unknown};

pub(crate) use checks::{check_lines, checks};
pub(crate) use events::event;
pub(crate) use explanation::explanation;
pub(crate) use flows::flows;
pub(crate) use forwards::forwards;
pub(crate) use hosts::{hosts, range, spelled};
pub(crate) use packets::{packet, packet_comment};
pub(crate) use ports::{bind, ports};
pub(crate) use services::services;

/// How text is to look.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Look {
    /// With ANSI colours.
    pub(crate) colour: bool,
    /// At most so many columns; `None` where lines may be as long as they like.
    pub(crate) width: Option<usize>,
}

impl Look {
    /// The same, for text that something stands before.
    pub(crate) fn narrower(self, columns: usize) -> Look {
        Look { width: self.width.map(|width| width.saturating_sub(columns)), ..self }
    }
}

/// What stands where there is nothing to say.
const NONE: &str = "–";

/// Text from outside without anything that could steer a terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Seconds as people say them: `350ms`, `12s`, `3m`, `4h`, `9d`.
pub(crate) fn age(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => format!("{:.0}ms", (s * 1000.0).max(0.0)),
        s if s < 60.0 => format!("{}s", s as u64),
        s if s < 3600.0 => format!("{}m", (s / 60.0) as u64),
        s if s < 48.0 * 3600.0 => format!("{}h", (s / 3600.0) as u64),
        s => format!("{}d", (s / 86400.0) as u64),
    }
}

/// Bytes with decimal prefixes: `0 B`, `1.2 kB`, `88 MB`.
pub(crate) fn bytes(count: u64) -> String {
    if count < 1000 {
        return format!("{count} B");
    }
    let mut value = count as f64;
    let mut unit = "B";
    for next in ["kB", "MB", "GB", "TB", "PB", "EB"] {
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    if value < 9.95 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

/// A number of bytes that may be unknown.
pub(crate) fn maybe_bytes(count: Option<u64>) -> String {
    count.map_or_else(|| NONE.into(), bytes)
}

/// Addresses of one host, in a sentence.
pub(crate) fn addresses(addresses: impl Iterator<Item = std::net::IpAddr>) -> String {
    addresses.map(|address| address.to_string()).collect::<Vec<_>>().join(" and ")
}

/// The transport as it stands after a port: `tcp`, `udp`.
pub(crate) fn transport(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    }
}

/// IANA's name of a class.
pub(crate) fn class(class: PortClass) -> &'static str {
    match class {
        PortClass::WellKnown => "well-known",
        PortClass::Registered => "registered",
        PortClass::Dynamic => "dynamic",
    }
}

/// Processes that hold something: the first by name and pid, and how many more; or why they are unknown.
pub(crate) fn holders(processes: &[Process], unknown: Option<Unknown>) -> String {
    match (processes, unknown) {
        ([], Some(Unknown::NoPermission)) => "unknown (no permission)".into(),
        ([], Some(Unknown::Vanished)) => "unknown (gone)".into(),
        ([], None) => NONE.into(),
        ([only], _) => process(only),
        ([first, rest @ ..], _) => format!("{} +{}", process(first), rest.len()),
    }
}

/// A process in a table: `apache2 4121`.
pub(crate) fn process(process: &Process) -> String {
    format!("{} {}", printable(&process.name), process.pid)
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod widths;
