//! Egress policies: what is allowed passes, and nothing gets around the rest.

use minato_inspect::{EgressRefusal, Event, Happening};

use crate::explain::{printed_fix, start_fix};
use crate::machine::{
    Account, Finished, MACHINE_V4, Machine, OUTSIDE_SECOND_V4, OUTSIDE_V4, OUTSIDE_V6, SOON, wait_until,
};
use crate::support::api::Api;
use crate::support::names::NameServer;
use crate::support::watching::watch;
use crate::support::world::{greet, world};

/// Starts the host `client` with these flags.
fn client<'m>(user: &Account<'m>, flags: &[&str]) -> crate::machine::Program {
    let host = user.run(&[&["--name", "client"], flags].concat(), &["sleep", "200"]);
    Api::USER.host("client");
    host
}

/// How a connection from `client` comes out, and after how many milliseconds.
fn connect(user: &Account<'_>, machine: &Machine, address: &str) -> (String, f64) {
    let finished = user.exec("client", &machine.peer(&format!("connect {address}"))).finish().expect_success();
    let line = finished.stderr.lines().last().unwrap_or_default().to_owned();
    let (outcome, milliseconds) = line.split_once(' ').unwrap_or_else(|| panic!("not an outcome: {line}"));
    (outcome.to_owned(), milliseconds.parse().expect("milliseconds"))
}

fn refused(user: &Account<'_>, machine: &Machine, address: &str) {
    assert_eq!(connect(user, machine, address).0, "ConnectionRefused", "{address}");
}

fn passes(user: &Account<'_>, machine: &Machine, address: &str) {
    assert_eq!(connect(user, machine, address).0, "connected", "{address}");
}

/// What curl gets; empty if nothing.
fn curl(user: &Account<'_>, arguments: &[&str]) -> String {
    user.exec("client", &[&["curl", "--silent", "--max-time", "5"], arguments].concat()).finish().stdout
}

#[test]
fn a_name_opens_its_addresses_and_ports_and_nothing_else_is_open() {
    Machine::run(&["curl", "getent", "dig"], |machine| {
        let [v4, v6] = [OUTSIDE_V4, OUTSIDE_V6].map(|address| format!("good.example.test 60 {address}"));
        let cdn = format!("cdn.test 60 {OUTSIDE_SECOND_V4}");
        let server = NameServer::start(
            machine,
            &[&v4, &v6, "alias.example.test 60 =cdn.test", &cdn, "evil.test 60 198.51.100.2"],
        );
        world(machine);
        let user = machine.user();
        let host = client(&user, &["--allow", "*.example.test:8000"]);

        // IP literals, before any name was asked for.
        for address in [format!("{OUTSIDE_V4}:8000"), format!("[{OUTSIDE_V6}]:8000")] {
            wait_until(&format!("a quick refusal of {address}"), SOON, || {
                let (outcome, milliseconds) = connect(&user, machine, &address);
                assert_eq!(outcome, "ConnectionRefused", "{address}");
                milliseconds < 50.0
            });
        }
        assert_eq!(curl(&user, &["-4", "http://good.example.test:8000/"]), "hello");
        assert_eq!(curl(&user, &["-6", "http://good.example.test:8000/"]), "hello");
        passes(&user, machine, &format!("{OUTSIDE_V4}:8000"));
        passes(&user, machine, &format!("[{OUTSIDE_V6}]:8000"));
        refused(&user, machine, &format!("{OUTSIDE_V4}:8001"));
        refused(&user, machine, &format!("[{OUTSIDE_V6}]:8001"));

        // An alias leads where it leads, and its target is no name that is allowed.
        refused(&user, machine, &format!("{OUTSIDE_SECOND_V4}:8000"));
        assert_eq!(curl(&user, &["http://alias.example.test:8000/"]), "hello");
        let asked = |name: &str| user.exec("client", &["getent", "ahostsv4", name]).finish().stdout;
        assert_eq!(asked("cdn.test"), "");

        // A name that is not allowed does not exist, and nobody outside hears of it.
        assert_eq!(asked("evil.test") + &asked("secret-told-by-a-name.evil.test"), "");
        assert!(!server.asked().iter().any(|asked| asked.contains("evil")), "{:?}", server.asked());
        let told = user.exec("client", &["dig", "evil.test"]).finish().stdout;
        assert!(told.contains("status: NXDOMAIN") && told.contains("EDE: 15 (Blocked)"), "{told}");
        assert!(told.contains("no rule of client allows the name evil.test"), "{told}");
        let own = user.exec("client", &["dig", "+short", "client"]).finish().stdout;
        assert_eq!(own.trim(), Api::USER.host("client").address_v4.to_string());
        host.stop();
    });
}

#[test]
fn what_is_not_tcp_is_refused_as_quickly() {
    Machine::run(&["ping"], |machine| {
        world(machine);
        let user = machine.user();
        let rules = ["--allow", "198.51.100.2:7777/udp", "--allow", "[2001:db8:51::]/64:7777/udp"];
        let host = client(&user, &rules);
        let ask = |address: &str| {
            user.exec("client", &machine.peer(&format!("ask {address} marco"))).finish().expect_success().stderr
        };
        assert!(ask(&format!("{OUTSIDE_V4}:7777")).contains("marco"));
        assert!(ask(&format!("[{OUTSIDE_V6}]:7777")).contains("marco"));
        // ICMP says that it is prohibited (3/13, 1/1).
        let others =
            [format!("{OUTSIDE_SECOND_V4}:7777"), format!("{OUTSIDE_V4}:7778"), format!("[{OUTSIDE_V6}]:7778")];
        for (address, error) in others.iter().zip(["HostUnreachable", "HostUnreachable", "PermissionDenied"]) {
            let told = ask(address);
            assert!(told.contains(error), "{address}: {told}");
        }
        refused(&user, machine, &format!("{OUTSIDE_V4}:7777"));
        for address in [OUTSIDE_V4, OUTSIDE_V6] {
            let ping = user.exec("client", &["ping", "-c", "1", "-W", "10", address]).finish();
            assert!(!ping.status.success(), "{address}: {}", ping.stdout);
            let told = ping.stdout + &ping.stderr;
            assert!(told.contains("filtered") || told.contains("prohibited"), "{address}: {told}");
        }
        host.stop();
        let host = client(&user, &["--allow", OUTSIDE_V4]);
        user.exec("client", &["ping", "-c", "1", "-W", "10", OUTSIDE_V4]).finish().expect_success();
        host.stop();
    });
}

/// Sends one datagram each from an address of the network that no host has, from one of no network, and from the link-local
/// one, and tries a connection from the last.
const FROM_ELSEWHERE: &str = r#"
import ipaddress, socket, sys
outside, port = sys.argv[1], 7779
own = [line.split() for line in open("/proc/net/if_inet6")]
of_network = next(ipaddress.IPv6Address(bytes.fromhex(line[0])) for line in own if line[0].startswith("fd"))
link_local, index = next((bytes.fromhex(line[0]), int(line[1], 16)) for line in own if line[0].startswith("fe80"))
link_local = (str(ipaddress.IPv6Address(link_local)), 0, 0, index)
def send(source, word):
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as datagrams:
        datagrams.setsockopt(socket.IPPROTO_IPV6, 78, 1)  # IPV6_FREEBIND
        datagrams.bind(source)
        datagrams.sendto(word, (outside, port))
send((str(of_network + 0x1000), 0), b"nobody's")
send(("fd99::1", 0), b"no network's")
send(link_local, b"link-local")
stream = socket.socket(socket.AF_INET6)
stream.settimeout(5)
stream.bind(link_local)
try:
    stream.connect((outside, 8000))
    print("connected")
except OSError as error:
    print("not connected:", error)
"#;

#[test]
fn an_address_that_is_no_hosts_is_no_way_around() {
    Machine::run(&["python3"], |machine| {
        world(machine);
        let heard = machine.outside(|| {
            let socket = std::net::UdpSocket::bind("[::]:7779").expect("a port");
            socket.set_read_timeout(Some(SOON)).expect("a timeout");
            socket
        });
        let user = machine.user();
        let host = client(&user, &["--allow", &format!("[{OUTSIDE_V6}]:7779/udp")]);
        let told = user.exec("client", &["python3", "-c", FROM_ELSEWHERE, OUTSIDE_V6]).finish().expect_success().stdout;
        assert!(told.contains("not connected"), "{told}");
        // From its own address it may; and that comes first although it was sent last.
        let ask = format!("ask [{OUTSIDE_V6}]:7779 own");
        let own = user.exec("client", &machine.peer(&ask));
        let mut buffer = [0; 64];
        let (length, client) = heard.recv_from(&mut buffer).expect("a datagram");
        assert_eq!(&buffer[..length], b"own");
        heard.send_to(b"own", client).expect("an answer");
        own.finish().expect_success();
        host.stop();
    });
}

#[test]
fn a_name_does_not_lead_to_what_is_denied() {
    Machine::run(&["curl", "getent"], |machine| {
        let server = NameServer::start(machine, &[]);
        world(machine);
        greet(&format!("{MACHINE_V4}:8000"));
        greet("127.0.0.1:8000");
        machine.root().finish("ip", &["address", "add", "10.1.2.3/32", "dev", "lo"]).expect_success();
        machine.root().finish("ip", &["address", "add", "fd99::1/128", "dev", "lo", "nodad"]).expect_success();
        greet("10.1.2.3:8000");
        greet("[fd99::1]:8000");
        let user = machine.user();
        let host = client(&user, &["--allow", "*.example.test", "--deny", OUTSIDE_SECOND_V4]);
        let url = "http://rebound.example.test:8000/";
        for (address, expected) in [
            (OUTSIDE_V4, "hello"),
            (OUTSIDE_V6, "hello"),
            (OUTSIDE_SECOND_V4, ""), // denied by a rule
            ("127.0.0.1", ""),
            ("::1", ""),
            (MACHINE_V4, ""), // the machine's own
            ("10.1.2.3", ""), // private, and the machine's own
            ("fd99::1", ""),
            ("169.254.169.254", ""),
            ("10.77.0.1", ""),        // the gateway, which opens no port
            ("64:ff9b::a01:203", ""), // 10.1.2.3 behind a translator
            (OUTSIDE_V4, "hello"),
        ] {
            server.set(&[&format!("rebound.example.test 0 {address}")]);
            assert_eq!(curl(&user, &[url]), expected, "{address}");
        }
        // All of that but loopback can be reached from a host without a policy.
        let open = user.run(&[], &["curl", "--silent", "--max-time", "5", "http://10.1.2.3:8000/"]);
        assert_eq!(open.finish().stdout, "hello");
        host.stop();
        // A rule with the address says that it is meant.
        let host = client(&user, &["--allow", "10.1.2.3:8000"]);
        passes(&user, machine, "10.1.2.3:8000");
        host.stop();
    });
}

#[test]
fn the_own_network_and_what_is_opened_at_the_gateway_are_no_egress() {
    Machine::run(&["getent"], |machine| {
        NameServer::start(machine, &["other.test 60 198.51.100.2"]);
        world(machine);
        greet("127.0.0.1:7000");
        let user = machine.user();
        let server = user.run(&["--name", "server"], &machine.peer("line 80"));
        let host = client(&user, &["--deny", "all", "--host-port", "7000"]);
        wait_until("the service", SOON, || Api::USER.port("server", 80).is_some());
        let (v4, v6) = (Api::USER.host("server").address_v4, Api::USER.host("server").address_v6.expect("IPv6"));
        passes(&user, machine, &format!("{v4}:80"));
        passes(&user, machine, &format!("[{v6}]:80"));
        passes(&user, machine, &format!("{}:7000", Api::USER.network().gateway_v4));
        refused(&user, machine, &format!("{}:7001", Api::USER.network().gateway_v4));
        refused(&user, machine, &format!("{OUTSIDE_V4}:8000"));
        host.stop();
        server.stop();

        // With "dns" any name may be asked for, which opens nothing.
        let host = client(&user, &["--allow", "dns"]);
        let found = user.exec("client", &["getent", "ahostsv4", "other.test"]).finish().stdout;
        assert!(found.starts_with(OUTSIDE_V4), "{found}");
        refused(&user, machine, &format!("{OUTSIDE_V4}:8000"));
        host.stop();

        // Everything but what is denied.
        let host = client(&user, &["--deny", &format!("{OUTSIDE_V4}:8000"), "--deny", "[2001:db8::]/32"]);
        refused(&user, machine, &format!("{OUTSIDE_V4}:8000"));
        passes(&user, machine, &format!("{OUTSIDE_V4}:8001"));
        refused(&user, machine, &format!("[{OUTSIDE_V6}]:8001"));
        host.stop();
    });
}

#[test]
fn names_learned_by_tcp_count_too_and_others_learn_nothing() {
    Machine::run(&["dig"], |machine| {
        NameServer::start(machine, &[&format!("good.test 60 {OUTSIDE_V4}")]);
        world(machine);
        let user = machine.user();
        let host = client(&user, &["--allow", "good.test"]);
        let other = user.run(&["--name", "other", "--allow", "good.test"], &["sleep", "100"]);
        Api::USER.host("other");
        let address = format!("{OUTSIDE_V4}:8000");
        let dig = user.exec("other", &["dig", "+tcp", "+short", "good.test"]).finish().stdout;
        assert_eq!(dig.trim(), OUTSIDE_V4);
        refused(&user, machine, &address);
        let finished = user.exec("other", &machine.peer(&format!("connect {address}"))).finish().expect_success();
        assert!(finished.stderr.contains("connected"), "{}", finished.stderr);
        other.stop();
        host.stop();
    });
}

#[test]
fn a_refusal_is_told_with_process_and_rule_and_explained() {
    Machine::run(&["curl", "bash"], |machine| {
        NameServer::start(machine, &["rebound.test 60 10.1.2.3"]);
        world(machine);
        let user = machine.user();
        let host = client(&user, &["--allow", "rebound.test", "--deny", OUTSIDE_SECOND_V4]);
        let [lines, json] = [&[][..], &["client", "--json"]].map(|arguments| watch(&user, "client", arguments));
        for url in [
            format!("http://{OUTSIDE_V4}:8000/"),
            format!("http://[{OUTSIDE_V6}]:8000/"),
            format!("http://{OUTSIDE_SECOND_V4}:8000/"),
            "http://rebound.test:8000/".to_owned(),
            "http://unknown.test/".to_owned(),
        ] {
            assert_eq!(curl(&user, &[&url]), "", "{url}");
        }
        let literal = refusals_explained(&user);
        host.stop();
        // The fix has the rules that the host had, and one more.
        let mended = start_fix(&user, printed_fix(&literal), &["sleep".into(), "100".into()]);
        wait_until("the host", SOON, || curl(&user, &[&format!("http://{OUTSIDE_V4}:8000/")]) == "hello");
        let text = explain(&user, &format!("{OUTSIDE_V4}:8000")).expect_success().stdout;
        assert!(text.contains("accepted"), "{text}");
        explain(&user, &format!("{OUTSIDE_SECOND_V4}:8000")).expect_code(1);
        let rebound = explain(&user, "rebound.test:8000").expect_code(1).stdout;
        assert!(rebound.contains("the policy of client allows rebound.test"), "{rebound}");
        mended.stop();

        let text = lines.finish().expect_success().stdout;
        for part in ["refused  client curl ", "→ 198.51.100.2:8000/tcp: no rule of client allows 198.51.100.2:8000"] {
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
        refusals_told(&refusals(&json.finish().expect_success().stdout));
        let log = std::fs::read_to_string("/run/kept/engine-0.log").expect("the engine's log");
        assert!(log.contains("refused by policy: no rule of client allows 198.51.100.2:8000"), "{log}");
        assert!(log.contains("process=\"curl\"") && log.contains("rule=\"198.51.100.3\""), "{log}");
    });
}

fn explain(user: &Account<'_>, target: &str) -> Finished {
    user.minato_finish(&["explain", target, "--from", "client"])
}

/// Asks why the client was refused, and gives what was said about an address that no rule allows.
fn refusals_explained(user: &Account<'_>) -> String {
    let literal = explain(user, &format!("{OUTSIDE_V4}:8000")).expect_code(1).stdout;
    assert!(literal.contains("WHY  no rule of client allows 198.51.100.2:8000"), "{literal}");
    let file = "FIX  in minato.toml: allow = [\"rebound.test\", \"198.51.100.2:8000\"]";
    assert!(literal.contains(file), "{literal}");
    let denied = explain(user, &format!("{OUTSIDE_SECOND_V4}:8000")).expect_code(1).stdout;
    assert!(denied.contains("WHY  the policy of client denies 198.51.100.3"), "{denied}");
    let name = explain(user, "http://unknown.test/").expect_code(1).stdout;
    assert!(name.contains("WHY  no rule of client allows the name unknown.test"), "{name}");
    let rebound = explain(user, "rebound.test:8000").expect_code(1).stdout;
    assert!(rebound.contains("✓ policy   the policy of client allows rebound.test"), "{rebound}");
    assert!(rebound.contains("WHY  rebound.test leads to 10.1.2.3"), "{rebound}");
    literal
}

fn refusals_told(told: &[EgressRefusal]) {
    let of = |address: &str| {
        let found = told.iter().find(|refusal| refusal.address.is_some_and(|other| other.to_string() == address));
        found.unwrap_or_else(|| panic!("{address}: {told:#?}"))
    };
    for address in [OUTSIDE_V4, OUTSIDE_V6, OUTSIDE_SECOND_V4, "10.1.2.3"] {
        let process = of(address).process.as_ref().unwrap_or_else(|| panic!("{address}: by whom? {told:#?}"));
        assert_eq!((process.name.as_str(), of(address).port), ("curl", Some(8000)), "{address}");
    }
    assert_eq!(of(OUTSIDE_SECOND_V4).rule.as_deref(), Some(OUTSIDE_SECOND_V4));
    assert_eq!(
        (of("10.1.2.3").name.as_deref(), of("10.1.2.3").allow.as_deref()),
        (Some("rebound.test"), Some("10.1.2.3:8000"))
    );
    let unknown = told.iter().find(|refusal| refusal.name.as_deref() == Some("unknown.test")).expect("the name");
    assert_eq!((unknown.address, unknown.allow.as_deref()), (None, Some("unknown.test")));
}

fn refusals(text: &str) -> Vec<EgressRefusal> {
    let parse = |line: &str| {
        let mut value: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        serde_json::from_value(value["event"].take()).expect("an event")
    };
    let events = text.lines().map(parse);
    let refusal = |event: Event| match event.what {
        Happening::EgressRefused(refusal) => Some(*refusal),
        _ => None,
    };
    events.filter_map(refusal).collect()
}

#[test]
fn rules_that_cannot_be_meant_are_refused_before_anything_is_made() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let run = |flags: &[&str]| user.minato_finish(&[&["run"], flags, &["--", "true"]].concat());
        run(&["--allow", "10.1.0.0/8"]).expect_code(2).expect_stderr(&["'10.1.0.0'", "10.0.0.0/8", "^^^^^^^^"]);
        run(&["--allow", "2001:db8::1:443"]).expect_code(2).expect_stderr(&["needs brackets"]);
        run(&["--deny", "example.com"]).expect_code(2).expect_stderr(&["denies no address"]);
        assert_eq!(machine.engines().len(), 0);
    });
}

#[test]
fn a_file_says_what_each_host_may_reach() {
    Machine::run(&["curl"], |machine| {
        world(machine);
        let fetch = |port: u16| {
            format!("curl -s -o /dev/null http://{OUTSIDE_V4}:{port}/ && echo {port} passes || echo {port} fails")
        };
        let command = format!("command = [\"sh\", \"-c\", \"{}; {}\"]\n", fetch(8000), fetch(8001));
        let text = format!(
            "allow = ['{OUTSIDE_V4}:8000']\n[host.some]\n{command}[host.none]\n{command}policy = 'deny'\n\
             [host.all]\n{command}policy = 'open'\n"
        );
        std::fs::write(machine.work().join("minato.toml"), text).expect("a file");
        let up = machine.user().minato_finish(&["up"]).expect_success();
        for (host, outcomes) in
            [("some", ["passes", "fails"]), ("none", ["fails", "fails"]), ("all", ["passes", "passes"])]
        {
            for (port, outcome) in [8000, 8001].iter().zip(outcomes) {
                let line = format!("{host:4} | {port} {outcome}");
                assert!(up.stdout.contains(&line), "no '{line}': {}", up.stdout);
            }
        }
    });
}
