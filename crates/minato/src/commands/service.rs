//! `minato service`: what numbers are registered for.

use minato_ports::registry::{self, Assignment, Protocol, Service};
use minato_ports::{PortClass, PortRange, Transport};
use serde::Serialize;

use super::DONE;
use crate::failure::{Failure, code};
use crate::flags::ServiceQuery;
use crate::render;
use crate::terminal::Terminal;

/// A line of the answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Entry {
    /// First port.
    pub(crate) first: u16,
    /// Last port, inclusive.
    pub(crate) last: u16,
    /// The registered name; none for what is reserved, unassigned or dynamic.
    pub(crate) name: Option<&'static str>,
    /// Protocols it is registered for, or the ones the remark is about.
    pub(crate) protocols: Vec<&'static str>,
    /// IANA's class of the first port.
    pub(crate) class: String,
    /// IANA's description, or what the number is instead.
    pub(crate) description: String,
}

/// Looks up and shows.
pub(super) fn service(query: &ServiceQuery, terminal: &Terminal) -> Result<u8, Failure> {
    let entries = match query {
        ServiceQuery::Range(range) => by_number(*range),
        ServiceQuery::Name(name) => by_name(name),
    };
    terminal.view("services", &entries, |look| {
        if entries.is_empty() { String::new() } else { render::services(&entries, look) }
    });
    match query {
        ServiceQuery::Name(name) if entries.is_empty() => {
            Err(Failure::new(code::NOTHING, format!("no name registered with IANA contains '{name}'"))
                .detail(format!("of the registry as of: {}", registry::source().collect::<Vec<_>>().join(", "))))
        }
        _ => Ok(DONE),
    }
}

/// Everything registered in a range, and what the numbers are where nothing is.
fn by_number(range: PortRange) -> Vec<Entry> {
    let overlaps = |service: &Service| {
        PortRange::from_numbers(service.first_port().max(1), service.last_port().max(1))
            .is_ok_and(|registered| registered.overlaps(range))
    };
    let mut entries: Vec<Entry> = registry::services().filter(overlaps).map(entry).collect();
    entries.extend(gaps(range));
    entries.sort();
    entries
}

/// The parts of a range that no service has, for neither TCP nor UDP.
fn gaps(range: PortRange) -> impl Iterator<Item = Entry> {
    registry::assignments(range, Transport::Tcp).filter_map(|(part, assignment)| {
        let description = match assignment {
            Assignment::Service(_) => return None,
            Assignment::Reserved(remark) => format!("reserved: {remark}"),
            Assignment::Unassigned => "unassigned".into(),
            Assignment::Dynamic => "dynamic: never assigned, for everybody's use".into(),
        };
        if part.iter().all(|port| registry::lookup_all(port.value()).next().is_some()) {
            return None;
        }
        Some(Entry {
            first: part.first().value(),
            last: part.last().value(),
            name: None,
            protocols: vec![Transport::Tcp.name()],
            class: PortClass::of(part.first().value()).to_string(),
            description,
        })
    })
}

/// Everything with this name; where nothing has it, everything whose name contains it.
fn by_name(name: &str) -> Vec<Entry> {
    let exact: Vec<Entry> = registry::lookup_name(name).map(entry).collect();
    if !exact.is_empty() {
        return exact;
    }
    let name = name.to_ascii_lowercase();
    registry::services().filter(|service| service.name().to_ascii_lowercase().contains(&name)).map(entry).collect()
}

fn entry(service: Service) -> Entry {
    Entry {
        first: service.first_port(),
        last: service.last_port(),
        name: Some(service.name()),
        protocols: service.protocols().map(Protocol::name).collect(),
        class: PortClass::of(service.first_port()).to_string(),
        description: match (service.is_historic(), service.description()) {
            (true, description) => format!("{description} (historic)"),
            (false, description) => description.to_owned(),
        },
    }
}

/// What `minato service NUMBER` shows.
#[cfg(test)]
pub(crate) fn entries(number: u16) -> Vec<Entry> {
    minato_ports::Port::new(number).map(|port| by_number(port.into())).unwrap_or_default()
}
