use super::SERVICES;
use super::report::Report;

#[test]
fn forwards_are_the_base_and_the_port() {
    let ports = SERVICES.map(|service| service.forward(8000).host_ports.0);
    assert_eq!(ports, [8080, 8025, 8021]);
}

#[test]
fn services_have_the_ports_that_iana_registered() {
    let names = SERVICES.map(|service| {
        minato_ports::registry::lookup(service.port, minato_ports::Transport::Tcp).map(|service| service.name())
    });
    assert_eq!(names, [Some("http"), Some("smtp"), Some("ftp")]);
}

#[test]
fn reports_survive_the_pipe() {
    let report = Report::Released { source: "10.77.0.3:50000".parse().expect("an address"), after_micros: Some(5) };
    let line = serde_json::to_string(&report).expect("JSON");
    assert_eq!(serde_json::from_str::<Report>(&line).expect("a report"), report);
}
