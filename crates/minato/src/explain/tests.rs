use std::net::SocketAddr;

use minato_host::firewall::{Fate, RuleName, Stop, Tool};
use minato_inspect::{AcceptQueue, EgressVerdict, Forward, ForwardState, PortRow, Transport};

use super::diagnose::diagnose;
use super::exhaustion::{Consumer, Exhaustion};
use super::facts::{Facts, Network, Other, Subject, Trial};
use super::firewall::{Filtered, Firewall};
use super::probe::Outcome;
use super::target::{Place, Target};
use crate::render::widths::whole;
use crate::render::{self, samples};

mod meanings;
mod silence;

/// What is so, in a test: told by a few words, seen as an unprivileged user.
#[derive(Clone)]
struct World(Facts);

impl World {
    fn new(subject: Subject) -> World {
        World(Facts {
            subject,
            from: None,
            network_flag: String::new(),
            network: None,
            others: Vec::new(),
            machine: Ok(Vec::new()),
            trials: Vec::new(),
            verdicts: Vec::new(),
            first_bindable: 1024,
            is_root: false,
            stopped: Vec::new(),
            next_free: Some(8081),
            firewalls: Vec::new(),
        })
    }

    fn machine() -> World {
        World::new(Subject::Machine(vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()]))
    }

    fn network(&mut self) -> &mut Network {
        self.0.network.get_or_insert_with(|| Network { hosts: samples::hosts(), ..Network::default() })
    }

    fn service(mut self, host: &str, address: &str, port: u16) -> World {
        let row = row(Some(host), address, port);
        self.network().services.push(row);
        self
    }

    fn forward(mut self, from: &str, host: &str, port: u16) -> World {
        let from: SocketAddr = from.parse().unwrap();
        let forward = samples::forward(from.ip(), from.port(), host, port, ForwardState::Open);
        let leads = |row: &&mut PortRow| row.host.as_deref() == Some(host) && row.port == port;
        self.network().services.iter_mut().filter(leads).for_each(|row| row.forwarded_from.push(forward.clone()));
        self.network().forwards.push(forward);
        self
    }

    fn held(mut self, address: &str, port: u16) -> World {
        self.0.machine.as_mut().unwrap().push(row(None, address, port));
        self
    }

    /// Another program on the same address and port, with `SO_REUSEPORT`.
    fn shared(mut self, address: &str, port: u16, name: &str) -> World {
        let row = PortRow { processes: vec![samples::process(77, name)], ..row(None, address, port) };
        self.0.machine.as_mut().unwrap().push(row);
        self
    }

    /// Makes what was added last a relay.
    fn relay(mut self, to: &str) -> World {
        let rows = self.0.network.as_mut().map(|network| &mut network.services);
        let last = rows.and_then(|rows| rows.last_mut()).or(self.0.machine.as_mut().unwrap().last_mut());
        let command = ["/usr/bin/minato", "relay", "--to", to, "x"].map(str::to_owned).to_vec();
        last.unwrap().processes = vec![minato_inspect::Process { command, ..samples::process(78, "minato") }];
        self
    }

    fn stopped(mut self, pid: u32) -> World {
        self.0.stopped.push(pid);
        self
    }

    fn queue(mut self, waiting: u32, limit: u32) -> World {
        let rows = self.0.network.as_mut().map(|network| &mut network.services);
        let last = rows.and_then(|rows| rows.last_mut()).or(self.0.machine.as_mut().unwrap().last_mut());
        last.unwrap().accept_queue = Some(AcceptQueue { waiting, limit });
        self
    }

    fn firewall(mut self, host: Option<&str>, destination: &str, fate: fn(Stop) -> Fate) -> World {
        let (tool, table, chain) = (Tool::Nft("inet".into()), "filter".into(), "input".into());
        let fate = fate(Stop { tool, table, chain, rule: Some(RuleName::Handle(4)), rejects: false });
        let filtered = Filtered { fates: vec![(destination.parse().unwrap(), fate)], unread: Vec::new() };
        self.0.firewalls.push(Firewall { host: host.map(str::to_owned), outcome: Ok(filtered) });
        self
    }

    /// A rule of the older iptables, and one that can't be read.
    fn older_firewall(mut self, destination: &str, rule: Option<&str>) -> World {
        let (table, chain) = ("filter".into(), "INPUT".into());
        let rule = rule.map(|words| RuleName::Words(words.into()));
        let fate = Fate::Stopped(Stop { tool: Tool::Iptables, table, chain, rule, rejects: true });
        let unread = vec!["there are rules of iptables (tables filter), and ip6tables-legacy-save: not found".into()];
        let filtered = Filtered { fates: vec![(destination.parse().unwrap(), fate)], unread };
        self.0.firewalls.push(Firewall { host: None, outcome: Ok(filtered) });
        self
    }

    /// What the policy of the host says that is asked from.
    fn policy(mut self, allowed: bool, reason: &str, allow: Option<&str>) -> World {
        let (reason, allow) = (reason.into(), allow.map(str::to_owned));
        self.0.verdicts.push(EgressVerdict { allowed, rule: None, reason, allow });
        self.0.from = Some("web".into());
        self
    }

    fn from(mut self, host: &str) -> World {
        self.0.from = Some(host.into());
        self
    }

    /// Another network of the user's, which has a host `web` and forwards a port to it.
    fn beside(mut self, network: &str, from: &str) -> World {
        let from: SocketAddr = from.parse().unwrap();
        let forwards = vec![samples::forward(from.ip(), from.port(), "web", 80, ForwardState::Open)];
        self.0.others.push(Other { name: network.into(), hosts: vec!["web".into()], forwards });
        self
    }

    /// Changes what was added last to UDP.
    fn udp(mut self) -> World {
        let rows = self.0.network.as_mut().map(|network| &mut network.services);
        let last = rows.and_then(|rows| rows.last_mut()).or(self.0.machine.as_mut().unwrap().last_mut());
        last.unwrap().transport = Transport::Udp;
        self
    }

    fn tried(mut self, destination: &str, outcome: Outcome) -> World {
        self.0.trials.push(Trial { from: None, destination: destination.parse().unwrap(), outcome });
        self
    }

    fn explain(&self, target: &str) -> String {
        let explanation = diagnose(&target.parse().expect("a target"), &self.0);
        let text = whole(|look| render::explanation(&explanation, look));
        format!("$ minato explain {target}\n{text}-> {}\n\n", explanation.code)
    }
}

fn row(host: Option<&str>, address: &str, port: u16) -> PortRow {
    PortRow {
        host: host.map(str::to_owned),
        addresses: address.split(' ').map(|address| address.parse().unwrap()).collect(),
        port,
        processes: vec![samples::process(u32::from(port), "server")],
        listening: true,
        forwarded_from: Vec::<Forward>::new(),
        ..samples::ports()[1].clone()
    }
}

#[test]
fn what_a_policy_refuses_is_explained_by_it() {
    let elsewhere = || World::new(Subject::Elsewhere(vec!["192.0.2.7".parse().unwrap()]));
    let name = |world: World| world.policy(true, "the policy of web allows *.test:443", None);
    let texts = [
        elsewhere().policy(false, "no rule of web allows 192.0.2.7:80", Some("192.0.2.7:80")).explain("192.0.2.7:80"),
        name(elsewhere()).policy(false, "the policy of web denies 192.0.2.0/24", None).explain("a.test:443"),
        World::new(Subject::Unresolved("no such name".into()))
            .policy(false, "no rule of web allows the name b.test", Some("b.test"))
            .explain("b.test:443"),
    ];
    insta::assert_snapshot!(texts.concat());
}

#[test]
fn a_direct_host_is_said_to_go_another_way_than_the_trial() {
    let world = |direct: bool| {
        let mut world = World::new(Subject::Elsewhere(vec!["192.0.2.7".parse().unwrap()]));
        world.0.from = Some("web".into());
        world.network().hosts[0].direct = direct;
        assert_eq!(world.network().hosts[0].name, "web");
        world
    };
    let told = |world: World, target: &str| world.explain(target).contains("programs of web connect over sockets");
    assert!(told(world(true), "192.0.2.7:80"));
    assert!(!told(world(true), "192.0.2.7:80/udp"));
    assert!(!told(world(false), "192.0.2.7:80"));
}

#[test]
fn a_policys_sentence_is_said_once() {
    let all = "the policy of web allows all";
    let world = World::new(Subject::Elsewhere(vec!["192.0.2.7".parse().unwrap()]));
    let text = world.policy(true, all, None).policy(true, all, None).explain("a.test:80");
    assert_eq!(text.matches(all).count(), 1, "{text}");
}

#[test]
fn every_way_that_a_machines_port_can_break_is_named() {
    let both = |world: World, port: u16, service| {
        world.forward(&format!("127.0.0.1:{port}"), "web", service).forward(&format!("[::1]:{port}"), "web", service)
    };
    let web = || World::machine().service("web", "0.0.0.0 ::", 80);
    let texts = [
        World::machine().explain("8080"),
        both(web(), 8080, 80).tried("127.0.0.1:8080", Outcome::Connected).explain("8080"),
        web().forward("127.0.0.1:8080", "web", 80).explain("8080"),
        both(World::machine().service("web", "127.0.0.1", 3000), 3000, 3000).explain("3000"),
        both(World::machine().service("web", "0.0.0.0", 3000), 8080, 80).explain("8080"),
        both(World::machine().service("web", "0.0.0.0", 80).udp(), 8080, 80).explain("8080"),
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
fn hosts_and_the_world_are_explained_too() {
    let host = || World::new(Subject::Host("web".into(), None));
    let elsewhere = || World::new(Subject::Elsewhere(vec!["192.0.2.9".parse().unwrap()]));
    let at_v6 = World::new(Subject::Host("web".into(), Some("fd77::2".parse().unwrap()))).from("db");
    let texts = [
        host().service("web", "0.0.0.0", 80).tried("10.77.0.2:80", Outcome::Connected).explain("web:80"),
        at_v6.clone().service("web", "0.0.0.0", 80).explain("[fd77::2]:80"),
        at_v6.service("web", "0.0.0.0", 80).service("web", "fd77::2", 80).relay("127.0.0.1:80").explain("[fd77::2]:80"),
        host().service("web", "0.0.0.0", 80).service("web", "fd77::2", 80).relay("127.0.0.1:80").explain("web:80"),
        host().service("web", "127.0.0.1", 80).explain("web:80"),
        host().service("web", "0.0.0.0", 3000).explain("web:80"),
        host().service("db", "0.0.0.0", 80).explain("web:80"),
        World::new(Subject::Host("nobody".into(), None)).explain("nobody:80"),
        World::new(Subject::Unresolved("no such name".into())).explain("nobody:80"),
        elsewhere().tried("192.0.2.9:80", Outcome::Refused).explain("192.0.2.9:80"),
        elsewhere().tried("192.0.2.9:80", Outcome::TimedOut).explain("192.0.2.9:80"),
        elsewhere().tried("192.0.2.9:80", Outcome::Unreachable("no route".into())).explain("192.0.2.9:80"),
    ];
    insta::assert_snapshot!(texts.concat());
}

#[test]
fn the_loopback_of_a_host_is_its_own() {
    let within = |address: &str| World::new(Subject::Within("web".into(), vec![address.parse().unwrap()])).from("web");
    let texts = [
        within("127.0.0.1").service("web", "127.0.0.1", 80).tried("127.0.0.1:80", Outcome::Connected).explain("80"),
        within("::1").service("web", "127.0.0.1", 80).explain("[::1]:80"),
        within("127.0.0.1").service("web", "10.77.0.2", 80).explain("127.0.0.1:80"),
        within("127.0.0.1").service("db", "0.0.0.0", 80).held("0.0.0.0", 80).explain("127.0.0.1:80"),
    ];
    insta::assert_snapshot!(texts.concat());
}

#[test]
fn what_only_hosts_have_a_way_to_is_not_reached_from_the_machine() {
    let web =
        || World::new(Subject::Host("web".into(), Some("10.77.0.2".parse().unwrap()))).service("web", "0.0.0.0", 80);
    let own = |mut world: World| {
        let place = ("127.77.0.2".parse().unwrap(), 8080);
        let forward = samples::forward(place.0, place.1, "web", 8080, ForwardState::Open);
        world.network().forwards.push(Forward { automatic: true, ..forward });
        world
    };
    let gateway = || World::new(Subject::Gateway(vec!["10.77.0.1".parse().unwrap()]));
    let tried = |world: World, port: u16, outcome| world.from("web").tried(&format!("10.77.0.1:{port}"), outcome);
    let texts = [
        web().tried("10.77.0.2:80", Outcome::Connected).explain("10.77.0.2:80"),
        web().forward("0.0.0.0:8080", "web", 80).explain("http://10.77.0.2/"),
        own(web().service("web", "0.0.0.0", 8080)).explain("10.77.0.2:8080"),
        web().from("db").explain("10.77.0.2:80"),
        gateway().explain("10.77.0.1:8080"),
        tried(gateway().held("127.0.0.1", 8080), 8080, Outcome::Refused).explain("gateway:8080"),
        tried(gateway().held("127.0.0.1", 8080), 8080, Outcome::Connected).explain("gateway:8080"),
        tried(gateway(), 8080, Outcome::Refused).explain("gateway:8080"),
        tried(gateway(), 53, Outcome::Connected).explain("gateway:53"),
    ];
    insta::assert_snapshot!(texts.concat());
}

#[test]
fn names_at_the_proxy_are_those_of_hosts() {
    let proxy = || {
        let mut world = World::machine().held("127.0.0.1 ::1", 7080);
        world.0.machine.as_mut().unwrap()[0].processes[0].name = "minato-proxy".into();
        world
    };
    let texts = [
        proxy().service("web", "0.0.0.0", 80).explain("http://web.default.localhost:7080/"),
        proxy().service("web", "0.0.0.0", 8000).explain("http://web.default.localhost:7080/"),
        proxy().service("web", "0.0.0.0", 8000).explain("http://81.web.default.localhost:7080/"),
        proxy().service("web", "0.0.0.0", 80).explain("http://nobody.default.localhost:7080/"),
        proxy().explain("http://web.default.localhost:7080/"),
        World::machine().service("web", "0.0.0.0", 80).explain("http://web.default.localhost:7080/"),
        World::machine().service("web", "0.0.0.0", 80).explain("http://web.default.localhost:9080/"),
        World::machine().held("127.0.0.1 ::1", 7080).explain("http://web.default.localhost:7080/"),
    ];
    insta::assert_snapshot!(texts.concat());
}

#[test]
fn forwards_elsewhere_are_told_with_what_mends_them() {
    let other_family = |from: &str, bound: &str| {
        let mut world = World::machine().service("web", bound, 80).forward(from, "web", 80);
        world.network().forwards[0].state = ForwardState::OtherFamily;
        world
    };
    let web = || World::machine().service("web", "0.0.0.0 ::", 80);
    let at = |address: &str| World::new(Subject::Machine(vec![address.parse().unwrap()]));
    let own = at("127.77.0.2").service("web", "0.0.0.0", 8080);
    let texts = [
        other_family("[::]:8086", "0.0.0.0").explain("8086"),
        other_family("0.0.0.0:9104", "::").explain("9104"),
        at("127.0.0.1")
            .service("web", "0.0.0.0", 80)
            .forward("[::1]:8085", "web", 80)
            .held("::1", 8085)
            .explain("127.0.0.1:8085"),
        web().forward("192.0.2.7:8085", "web", 80).held("192.0.2.7", 8085).explain("8085"),
        own.explain("127.77.0.2:8080"),
    ];
    insta::assert_snapshot!(texts.concat());
}

#[test]
fn other_networks_of_the_user_are_named() {
    let held = || World::machine().held("127.0.0.1 ::1", 8080).beside("shop", "127.0.0.1:8080");
    let unresolved = || World::new(Subject::Unresolved("no such name".into()));
    let texts = [
        held().explain("8080"),
        held().service("db", "0.0.0.0", 8080).explain("8080"),
        unresolved().beside("shop", "127.0.0.1:8080").explain("web:80"),
        unresolved().beside("shop", "127.0.0.1:8080").explain("db:80"),
        World::machine().beside("shop", "127.0.0.1:8080").explain("9090"),
    ];
    insta::assert_snapshot!(texts.concat());
}

#[test]
fn what_listens_instead_is_told_and_what_a_user_may_bind() {
    let web = || World::new(Subject::Host("web".into(), None)).service("web", "127.0.0.1", 3000);
    let texts = [
        web().explain("web:99"),
        web().service("web", "0.0.0.0", 80).forward("127.0.0.1:8080", "web", 80).explain("web:99"),
        World::machine().explain("22"),
        World::machine().explain("53/udp"),
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

#[test]
fn targets_are_ports_places_and_urls() {
    let parse = |text: &str| text.parse::<Target>().map(|target| (target.place, target.port, target.transport.name()));
    let name = |name: &str| Place::Name(name.into());
    let address = |text: &str| Place::Address(text.parse().unwrap());
    assert_eq!(parse("8080"), Ok((Place::Machine, 8080, "tcp")));
    assert_eq!(parse("53/udp"), Ok((Place::Machine, 53, "udp")));
    assert_eq!(parse(":8080"), Ok((Place::Machine, 8080, "tcp")));
    assert_eq!(parse("localhost:8080"), Ok((Place::Machine, 8080, "tcp")));
    assert_eq!(parse("web:80/udp"), Ok((name("web"), 80, "udp")));
    assert_eq!(parse("10.77.0.2:80"), Ok((address("10.77.0.2"), 80, "tcp")));
    assert_eq!(parse("[::1]:80"), Ok((address("::1"), 80, "tcp")));
    assert_eq!(parse("https://example.org/a?b"), Ok((name("example.org"), 443, "tcp")));
    assert_eq!(parse("http://me@[fd77::2]:81/"), Ok((address("fd77::2"), 81, "tcp")));
    assert_eq!(parse("postgresql://db"), Ok((name("db"), 5432, "tcp")));
    for wrong in ["", "0", "65536", "web", "web:", "web:x", "80/sctp", "[::1", "nonsense://x/", "http:///"] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn file_transfer_needs_more_than_one_port() {
    let ftp = || World::machine().service("web", "0.0.0.0 ::", 21);
    let told = |world: World, target: &str| {
        let text = world.explain(target);
        let line = text.lines().find(|line| line.contains("opens another port for each file"));
        line.map(|line| line.rsplit(" and ").next().unwrap_or_default().to_owned())
    };
    let pair = |world: World, host_port: u16, port: u16| {
        let forward = |world: World, address: &str| world.forward(&format!("{address}:{host_port}"), "web", port);
        forward(forward(world, "127.0.0.1"), "[::1]")
    };
    let add = |at: &str| Some(format!("minato forward add -p {at}30000-30009:30000-30009 web"));
    assert_eq!(told(pair(ftp(), 2121, 21), "2121"), add(""));
    assert_eq!(told(ftp().forward("127.0.0.1:2121", "web", 21), "127.0.0.1:2121"), add("127.0.0.1:"));
    // Another number is of no use to the client; the own one is.
    assert_eq!(told(pair(pair(ftp(), 2121, 21), 8080, 80), "2121"), add(""));
    assert_eq!(told(pair(pair(ftp(), 2121, 21), 30000, 30000), "2121"), None);
    assert_eq!(told(pair(World::machine().service("web", "0.0.0.0 ::", 80), 8080, 80), "8080"), None);
}
