use minato_inspect::{Endpoint, FlowState};

use super::*;
use crate::render::samples;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn tcp(source: &str, destination: &str) -> Way {
    Way::Ports(Transport::Tcp, address(source), address(destination))
}

/// A network with the host `web`, where process 1 is bound to `*:80`.
fn looked(flows: Vec<Flow>) -> Looked {
    let mut host = samples::hosts().remove(0);
    host.name = "web".into();
    host.address_v4 = "10.77.0.2".parse().unwrap();
    host.address_v6 = Some("fd77::2".parse().unwrap());
    host.ephemeral_range = (1000, 2000);
    let mut port = samples::ports().remove(0);
    port.host = Some("web".into());
    port.addresses = vec!["0.0.0.0".parse().unwrap()];
    port.port = 80;
    port.processes = vec![samples::process(1, "server")];
    Looked { hosts: vec![host], ports: vec![port], flows }
}

fn flow(client: &str, server: &str, seen_as: Option<&str>) -> Flow {
    let end = |text: &str, process| Endpoint {
        host: None,
        address: address(text).ip(),
        port: address(text).port(),
        process,
        process_unknown: None,
        name: None,
    };
    let mut flow = samples::flows().remove(0);
    flow.state = FlowState::Established;
    flow.client = end(client, Some(samples::process(2, "client")));
    flow.server = end(server, None);
    flow.seen_as = seen_as.map(address);
    flow
}

#[test]
fn a_service_is_known_by_its_port_and_a_client_by_its_flow() {
    let mut names = Names::of("web");
    let way = tcp("10.77.0.3:50000", "10.77.0.2:80");
    assert!(names.lacks(way), "nothing is known yet");
    names.learn(looked(Vec::new()));
    assert!(names.lacks(way), "a new host may be at an address of the network");
    names.learn(looked(vec![flow("10.77.0.3:50000", "10.77.0.2:80", None)]));
    assert!(names.lacks(tcp("10.77.0.3:50001", "10.77.0.2:80")), "another connection's");
    let server = names.party(Transport::Tcp, address("10.77.0.2:80"), address("10.77.0.3:50000"));
    assert_eq!(server.process.map(|process| process.pid), Some(1));
    assert_eq!((server.host.as_deref(), server.registered.as_deref()), (Some("web"), Some("http")));
    let client = names.party(Transport::Tcp, address("10.77.0.3:50000"), address("10.77.0.2:80"));
    assert_eq!(client.process.map(|process| process.pid), Some(2));
}

#[test]
fn a_process_is_named_where_its_socket_takes_what_is_sent() {
    let own = |list: &[(&str, bool, u32)]| {
        let mut looked = looked(Vec::new());
        let row = looked.ports.remove(0);
        let row = |(address, dual_stack, pid): &(&str, bool, u32)| PortRow {
            addresses: vec![address.parse().unwrap()],
            dual_stack: *dual_stack,
            processes: vec![samples::process(*pid, "server")],
            ..row.clone()
        };
        looked.ports = list.iter().map(row).collect();
        let mut names = Names::of("web");
        names.learn(looked);
        let at = |end: &str, other: &str| {
            names.party(Transport::Tcp, address(end), address(other)).process.map(|process| process.pid)
        };
        (at("10.77.0.2:80", "192.0.2.1:5000"), at("[fd77::2]:80", "[2001:db8::1]:5000"))
    };
    assert_eq!(own(&[("0.0.0.0", false, 1)]), (Some(1), None));
    assert_eq!(own(&[("::", false, 1)]), (None, Some(1)));
    assert_eq!(own(&[("::", true, 1)]), (Some(1), Some(1)));
    assert_eq!(own(&[("0.0.0.0", false, 1), ("::", false, 2)]), (Some(1), Some(2)));
    assert_eq!(own(&[("::", true, 1), ("10.77.0.2", false, 2)]), (Some(2), Some(1)));
    assert_eq!(own(&[("127.0.0.1", false, 1)]), (None, None));
}

#[test]
fn a_process_that_is_gone_is_not_named() {
    let mut names = Names::of("db");
    names.learn(looked(Vec::new()));
    let party = |names: &Names| names.party(Transport::Tcp, address("10.77.0.2:80"), address("192.0.2.1:50000"));
    assert_eq!(party(&names).process.map(|process| process.pid), Some(1));
    names.learn(Looked { ports: Vec::new(), ..looked(Vec::new()) });
    assert_eq!(party(&names).process, None, "nobody is bound there any more");
    assert_eq!(party(&names).host.as_deref(), Some("web"));
    names.learn(Looked { hosts: Vec::new(), ..looked(Vec::new()) });
    assert_eq!(party(&names).host, None, "the host has ended");
}

#[test]
fn who_is_outside_is_not_asked_for() {
    let mut names = Names::of("web");
    names.learn(looked(Vec::new()));
    assert!(!names.lacks(tcp("192.0.2.1:50000", "10.77.0.2:80")));
    assert!(!names.lacks(Way::Addresses("10.77.0.9".parse().unwrap(), "10.77.0.2".parse().unwrap())));
}

#[test]
fn a_client_behind_the_gateway_keeps_its_address() {
    let mut names = Names::of("web");
    names.learn(looked(vec![flow("127.0.0.1:4000", "10.77.0.2:80", Some("10.77.0.1:60000"))]));
    let way = tcp("10.77.0.1:60000", "10.77.0.2:80");
    assert!(!names.lacks(way));
    let client = names.party(Transport::Tcp, address("10.77.0.1:60000"), address("10.77.0.2:80"));
    assert_eq!(client.client, Some(address("127.0.0.1:4000")));
    names.forget(way);
    assert!(names.lacks(way), "a connection that begins anew may be another client's");
}

#[test]
fn loopback_is_that_of_the_host_that_is_captured() {
    let mut names = Names::of("web");
    names.learn(looked(Vec::new()));
    let party = |end| names.party(Transport::Tcp, address(end), address("127.0.0.1:80"));
    assert_eq!(party("127.0.0.1:1500").host.as_deref(), Some("web"));
    assert!(party("127.0.0.1:1500").ephemeral && !party("127.0.0.1:50000").ephemeral, "the host's own range");
}
