//! Ports of this machine: who has them, and where they lead.

use minato_host::firewall::Fate;
use minato_inspect::{Forward, Transport};

use super::*;
use crate::explain::exhaustion::{Consumer, Exhaustion};
use crate::explain::firewall::Firewall;

#[test]
fn every_way_that_a_machines_port_can_break_is_named() {
    let both = |world: World, port: u16, service| {
        world.forward(&format!("127.0.0.1:{port}"), "web", service).forward(&format!("[::1]:{port}"), "web", service)
    };
    let web = || World::machine().service("web", "0.0.0.0 ::", 80);
    // The forward of the other transport is there already.
    let mut both_transports = both(World::machine().service("web", "0.0.0.0", 80).udp(), 8080, 80);
    let forwards = &mut both_transports.network().forwards;
    forwards.extend(forwards.clone().into_iter().map(|forward| Forward { transport: Transport::Udp, ..forward }));
    let texts = [
        World::machine().explain("8080"),
        both(web(), 8080, 80).tried("127.0.0.1:8080", Outcome::Connected).explain("8080"),
        web().forward("127.0.0.1:8080", "web", 80).explain("8080"),
        both(World::machine().service("web", "127.0.0.1", 3000), 3000, 3000).explain("3000"),
        both(World::machine().service("web", "0.0.0.0", 3000), 8080, 80).explain("8080"),
        both(World::machine().service("web", "0.0.0.0", 80).udp(), 8080, 80).explain("8080"),
        both_transports.explain("8080"),
        both(World::machine(), 8080, 80).explain("8080"),
        World::machine().service("db", "0.0.0.0", 5432).explain("5432"),
        both(web(), 8080, 80).explain("80"),
        World::machine().service("web", "0.0.0.0", 25).explain("25"),
        World::machine().held("127.0.0.1", 7000).explain("7000"),
        World::machine().held("192.0.2.7", 7000).explain("7000"),
        World::machine().held("127.0.0.1", 7000).held("::1", 7000).relay("127.0.0.1:7000").explain("7000"),
        World::machine().held("192.0.2.7", 7000).held("127.0.0.1 ::1", 7000).relay("192.0.2.7:7000").explain("7000"),
        World::machine().held("0.0.0.0", 6000).udp().explain("6000"),
        web().forward("127.0.0.1:8080", "web", 80).held("::1", 8080).explain("8080"),
        World::machine().held("0.0.0.0 ::", 7000).tried("127.0.0.1:7000", Outcome::TimedOut).explain("7000"),
        World::machine().held("0.0.0.0 ::", 7000).tried("127.0.0.1:7000", exhausted()).explain("7000"),
        World::machine().held("0.0.0.0 ::", 53).udp().explain("53/udp"),
    ];
    insta::assert_snapshot!(texts.concat());
}

#[test]
fn instead_of_a_port_that_may_not_be_bound_one_is_named_that_may() {
    for (first, port, instead) in [(1024, 80, 8080), (20_000, 80, 20_000), (60_000, 58_000, 60_000), (0, 80, 80)] {
        let mut world = World::machine().service("web", "0.0.0.0", port);
        world.0.first_bindable = first;
        let fix = format!("forward add -p {instead}:{port} web");
        let text = world.clone().explain(&port.to_string());
        assert!(text.contains(&fix), "{text}");
        let text = world.udp().explain(&port.to_string());
        assert!(text.contains(&fix.replace(" web", "/udp web")), "{text}");
    }
}

fn exhausted() -> Outcome {
    let top = Some(Consumer { pid: 99, name: "loader".into(), ports: 8 });
    Outcome::PortsExhausted(Exhaustion { range: (50_000, 50_009), used: 10, top })
}

#[test]
fn programs_that_are_there_and_do_not_answer_are_named() {
    let held = || World::machine().held("0.0.0.0 ::", 7000);
    let web = || {
        World::machine().service("web", "0.0.0.0 ::", 80).forward("127.0.0.1:8080", "web", 80).forward(
            "[::1]:8080",
            "web",
            80,
        )
    };
    let silent = || held().tried("127.0.0.1:7000", Outcome::TimedOut).tried("[::1]:7000", Outcome::Connected);
    let mut unreadable = silent();
    let outcome = Err("nftables can't be read: Operation not permitted".into());
    unreadable.0.firewalls.push(Firewall { host: None, outcome });
    let texts = [
        web().stopped(80).tried("127.0.0.1:8080", Outcome::Connected).explain("8080"),
        web().queue(6, 5).tried("127.0.0.1:8080", Outcome::Connected).explain("8080"),
        web().queue(5, 5).explain("8080"),
        held().stopped(7000).queue(129, 128).explain("7000"),
        held().shared("0.0.0.0 ::", 7000, "other").explain("7000"),
        held().shared("0.0.0.0 ::", 7000, "server").explain("7000"),
        held().shared("127.0.0.1 ::1", 7000, "other").explain("7000"),
        World::machine().held("0.0.0.0 ::", 80).service("web", "0.0.0.0", 80).explain("80"),
        silent().firewall(None, "127.0.0.1:7000", Fate::Stopped).explain("7000"),
        silent().firewall(None, "127.0.0.1:7000", Fate::Perhaps).explain("7000"),
        silent().older_firewall("127.0.0.1:7000", Some("INPUT -p tcp -m tcp --dport 7000 -j DROP")).explain("7000"),
        silent().older_firewall("127.0.0.1:7000", None).explain("7000"),
        web()
            .tried("127.0.0.1:8080", Outcome::Connected)
            .firewall(Some("web"), "10.77.0.2:80", Fate::Stopped)
            .explain("8080"),
        unreadable.explain("7000"),
    ];
    insta::assert_snapshot!(texts.concat());
}

#[test]
fn what_a_datagram_shows_is_reconciled_with_who_is_bound() {
    let bound = || World::machine().held("0.0.0.0 ::", 53).udp();
    let elsewhere = || World::new(Subject::Elsewhere(vec!["192.0.2.9".parse().unwrap()]));
    let texts = [
        bound().tried("127.0.0.1:53", Outcome::Answered).explain("53/udp"),
        bound().tried("127.0.0.1:53", Outcome::Silent).explain("53/udp"),
        bound().tried("127.0.0.1:53", Outcome::Refused).explain("53/udp"),
        World::machine().tried("127.0.0.1:53", Outcome::Refused).explain("53/udp"),
        elsewhere().tried("192.0.2.9:53", Outcome::Silent).explain("192.0.2.9:53/udp"),
        elsewhere().tried("192.0.2.9:53", Outcome::Refused).explain("192.0.2.9:53/udp"),
        bound().tried("127.0.0.1:53", Outcome::Silent).firewall(None, "127.0.0.1:53", Fate::Stopped).explain("53/udp"),
    ];
    insta::assert_snapshot!(texts.concat());
}
