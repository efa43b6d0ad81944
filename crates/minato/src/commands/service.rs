//! `minato service`: what numbers are registered for.

use minato_ports::registry::{self, Assignment, Protocol, Service};
use minato_ports::{PortClass, PortRange, Transport};
use serde::Serialize;

use super::DONE;
use crate::failure::{Failure, code};
use crate::flags::{ServiceKey, ServiceQuery};
use crate::render;
use crate::terminal::Terminal;

/// A line of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
    let entries = entries_of(query);
    terminal.view("services", &entries, |look| {
        if entries.is_empty() { String::new() } else { render::services(&entries, look) }
    });
    if !entries.is_empty() {
        return Ok(DONE);
    }
    let protocol = query.protocol.map(|protocol| format!(" for {}", protocol.name())).unwrap_or_default();
    let title = match &query.key {
        ServiceKey::Name(name) => format!("no name registered with IANA{protocol} contains '{name}'"),
        ServiceKey::Range(range) => format!("nothing is registered with IANA at {range}{protocol}"),
    };
    Err(Failure::new(code::NOTHING, title).detail(format!("the registry here is of {}", registry::date())))
}

fn entries_of(query: &ServiceQuery) -> Vec<Entry> {
    let mut entries = match &query.key {
        ServiceKey::Range(range) => by_number(*range),
        ServiceKey::Name(name) => by_name(name),
    };
    if let Some(protocol) = query.protocol {
        entries.retain(|entry| entry.protocols.contains(&protocol.name()));
        entries.iter_mut().for_each(|entry| entry.protocols = vec![protocol.name()]);
    }
    entries
}

/// Everything registered in a range, and what the numbers are where nothing is.
fn by_number(range: PortRange) -> Vec<Entry> {
    let overlaps = |service: &Service| {
        PortRange::from_numbers(service.first_port().max(1), service.last_port().max(1))
            .is_ok_and(|registered| registered.overlaps(range))
    };
    let mut entries: Vec<Entry> = registry::services().filter(overlaps).map(entry).collect();
    entries.extend(gaps(range));
    // Stable: within a port the registry's own order stays.
    entries.sort_by_key(|entry| (entry.first, entry.last));
    entries
}

/// The parts of a range that no service has, with both transports in one line where they agree.
fn gaps(range: PortRange) -> Vec<Entry> {
    let mut gaps: Vec<Entry> = Vec::new();
    for transport in [Transport::Tcp, Transport::Udp] {
        for (part, assignment) in registry::assignments(range, transport) {
            let Some(description) = without_service(assignment) else { continue };
            let (first, last) = (part.first().value(), part.last().value());
            let same = |gap: &&mut Entry| (gap.first, gap.last, &gap.description) == (first, last, &description);
            match gaps.iter_mut().find(same) {
                Some(gap) => gap.protocols.push(transport.name()),
                None => gaps.push(Entry {
                    first,
                    last,
                    name: None,
                    protocols: vec![transport.name()],
                    class: PortClass::of(first).to_string(),
                    description,
                }),
            }
        }
    }
    gaps
}

/// What a number is that no service has.
fn without_service(assignment: Assignment) -> Option<String> {
    match assignment {
        Assignment::Service(_) => None,
        Assignment::Reserved(remark) if remark.eq_ignore_ascii_case("reserved") => Some("reserved".into()),
        Assignment::Reserved(remark) => Some(format!("reserved: {remark}")),
        Assignment::Unassigned => Some("unassigned".into()),
        Assignment::Dynamic => Some("dynamic: never assigned, for everybody's use".into()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn found(key: ServiceKey, protocol: Protocol) -> Vec<(Option<&'static str>, Vec<&'static str>)> {
        let entries = entries_of(&ServiceQuery { key, protocol: Some(protocol) });
        entries.into_iter().map(|entry| (entry.name, entry.protocols)).collect()
    }

    #[test]
    fn one_protocol_is_asked_for() {
        let range = |first, last| ServiceKey::Range(PortRange::from_numbers(first, last).expect("a range"));
        assert_eq!(found(range(22, 22), Protocol::Sctp), [(Some("ssh"), vec!["sctp"])]);
        assert_eq!(found(range(5432, 5432), Protocol::Sctp), []);
        assert_eq!(found(ServiceKey::Name("postgresql".into()), Protocol::Udp), [(Some("postgresql"), vec!["udp"])]);
        assert_eq!(found(range(50000, 50000), Protocol::Tcp), [(None, vec!["tcp"])]);
    }
}
