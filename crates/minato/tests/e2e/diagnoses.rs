//! `minato explain`, where a program is there and yet nobody gets to it: the diagnosis, and whether the printed fix
//! mends it.

use std::net::{TcpListener, TcpStream};

use crate::explain::{explain, printed_fix, run_fix, start_fix, works};
use crate::machine::{Machine, SOON, wait_for, wait_until};
use crate::support::api::Api;
use crate::support::net;

#[test]
fn a_stopped_program_is_found_and_continued() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let run = user.run(&["--name", "web", "-p", "8080:80"], &machine.peer("who 80"));
        wait_until("the service", SOON, || net::read_from("127.0.0.1:8080").is_some());
        let row = Api::USER.port("web", 80).expect("a row");
        let pids: Vec<String> = row.processes.iter().map(|process| process.pid.to_string()).collect();
        user.finish("kill", &[&["-STOP"], &*pids.iter().map(String::as_str).collect::<Vec<_>>()].concat());
        let text = explain(&user, &["8080"], 1, &["✗ process", "is stopped", "accepted"]);
        run_fix(&user, &text);
        works(&user, "8080", "127.0.0.1:8080");
        run.stop();
    });
}

#[test]
fn a_full_accept_queue_is_found_and_a_restart_mends_it() {
    Machine::run(&["socat"], |machine| {
        let user = machine.user();
        let serve =
            ["socat", "TCP6-LISTEN:80,ipv6only=0,reuseaddr,fork,max-children=1,backlog=1", "SYSTEM:echo hello; cat"];
        let keeper = user.run(&["--name", "slow", "-p", "8080:80"], &["sleep", "100"]);
        Api::USER.host("slow");
        let service = user.exec("slow", &serve);
        wait_until("the service", SOON, || Api::USER.port("slow", 80).is_some());
        let mut clients: Vec<TcpStream> = Vec::new();
        wait_until("the queue to be full", SOON, || {
            clients.extend(net::connect("127.0.0.1:8080"));
            let queue = Api::USER.port("slow", 80).and_then(|row| row.accept_queue);
            queue.is_some_and(minato_inspect::AcceptQueue::is_full)
        });
        let text = explain(&user, &["8080"], 1, &["✗ queue", "its backlog of 1", "socat", "accept queue is full"]);
        drop(clients);
        run_fix(&user, &text);
        service.finish();
        let service = user.exec("slow", &serve);
        wait_until("the service", SOON, || net::greeting("127.0.0.1:8080").as_deref() == Some("hello\n"));
        explain(&user, &["8080"], 0, &["accepted"]);
        service.stop();
        keeper.stop();
    });
}

#[test]
fn a_rule_that_drops_is_found_by_root_and_unknown_to_others() {
    Machine::run(&["nft"], |machine| {
        let root = machine.root();
        let _server = TcpListener::bind("[::]:7000").expect("to listen");
        let chain = "type filter hook input priority 0;";
        for (rules, part) in [
            (
                format!("table inet t {{ chain input {{ {chain} tcp dport 7000 drop; }}; }}"),
                "rule 2 of chain inet t input",
            ),
            (format!("table inet t {{ chain input {{ {chain} policy drop; }}; }}"), "the policy of chain inet t input"),
        ] {
            root.finish("nft", &[&rules]).expect_success();
            explain(&machine.user(), &["7000"], 1, &["? firewall", "nftables can't be read"]);
            let text = explain(&root, &["7000"], 1, &["✗ firewall", part, "drops 127.0.0.1:7000"]);
            run_fix(&root, &text);
            explain(&root, &["7000"], 0, &["accepted"]);
            root.finish("nft", &["flush ruleset"]).expect_success();
        }
    });
}

#[test]
fn a_rule_of_the_older_iptables_is_found() {
    Machine::run(&["iptables-legacy"], |machine| {
        let root = machine.root();
        let _server = TcpListener::bind("[::]:7000").expect("to listen");
        let drop = "-p tcp -m tcp --dport 7000 -m comment --comment 'for a test' -j DROP";
        for (set_up, parts) in [
            (
                format!("iptables-legacy -A INPUT {drop}"),
                ["✗ firewall", "of iptables table filter drops 127.0.0.1:7000"],
            ),
            (
                "iptables-legacy -P INPUT DROP".into(),
                ["✗ firewall", "the policy of chain INPUT of iptables table filter"],
            ),
        ] {
            root.finish("sh", &["-c", &set_up]).expect_success();
            let text = explain(&root, &["7000"], 1, &parts);
            run_fix(&root, &text);
            explain(&root, &["7000"], 0, &["accepted"]);
        }
    });
}

#[test]
fn a_rule_inside_a_host_is_found_behind_a_forward_and_from_another_host() {
    Machine::run(&["nft"], |machine| {
        for user in [machine.user(), machine.root()] {
            let run = user.run(&["--name", "web", "-p", "8080:80"], &machine.peer("who 80"));
            let other = user.run(&["--name", "other"], &["sleep", "100"]);
            wait_until("the service", SOON, || net::read_from("127.0.0.1:8080").is_some());
            let rules = "table inet t { chain i { type filter hook input priority 0; tcp dport 80 drop; }; }";
            let inside = |rules: &str| {
                user.minato_finish(&["exec", "--net-admin", "web", "--", "nft", rules]).expect_success();
            };
            inside(rules);
            let parts = ["✗ firewall", "inside web: rule 2 of chain inet t i drops", "the firewall inside web"];
            let text = explain(&user, &["8080"], 1, &parts);
            run_fix(&user, &text);
            works(&user, "8080", "127.0.0.1:8080");
            inside("flush ruleset");
            inside(rules);
            let text = explain(&user, &["web:80", "--from", "other"], 1, &parts);
            run_fix(&user, &text);
            explain(&user, &["web:80", "--from", "other"], 0, &["accepted"]);
            let denied = user.minato_finish(&["exec", "web", "--", "nft", rules]);
            assert_eq!(denied.status.success(), user.is_root(), "who has not asked for it can't change rules");
            other.stop();
            run.stop();
        }
    });
}

#[test]
fn a_datagram_is_tried_and_its_silence_proves_nothing() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        // Who answers at once: `explain` waits less than a second.
        let who = machine.peer("who 5300");
        let run = user.run(&["--name", "udp", "-p", "127.0.0.1:5300:5300/udp"], &who);
        wait_until("the service", SOON, || Api::USER.port("udp", 5300).is_some());
        wait_until("an answer", SOON, || net::ask("127.0.0.1:5300", "hello").is_ok());
        explain(&user, &["127.0.0.1:5300/udp"], 0, &["✓ trial", "answered"]);
        explain(&user, &["udp:5300/udp"], 0, &["from inside udp: answered"]);
        let silent = std::net::UdpSocket::bind("127.0.0.1:5400").expect("a port");
        explain(&user, &["127.0.0.1:5400/udp"], 0, &["? trial", "no answer, which for UDP proves nothing"]);
        drop(silent);
        explain(&user, &["127.0.0.1:5400/udp"], 10, &["nothing is on 127.0.0.1:5400", "✗ trial", "refused"]);
        run.stop();
    });
}

#[test]
fn ephemeral_ports_that_are_used_up_are_counted_and_named() {
    Machine::run(&["sysctl"], |machine| {
        let root = machine.root();
        let server = TcpListener::bind("127.0.0.1:7000").expect("to listen");
        root.finish("sysctl", &["-w", "net.ipv4.ip_local_port_range=50000 50009"]).expect_success();
        let mut clients: Vec<TcpStream> = Vec::new();
        while let Ok(client) = TcpStream::connect("127.0.0.1:7000") {
            clients.push(client);
        }
        assert_eq!(clients.len(), 10);
        let parts = ["10 of 10 (50000-50009) are in use", "10 of them by e2e", "every ephemeral port"];
        let text = explain(&root, &["127.0.0.1:7000"], 14, &parts);
        run_fix(&root, &text);
        explain(&root, &["127.0.0.1:7000"], 0, &["accepted"]);
        drop(server);
    });
}

#[test]
fn a_hosts_ephemeral_ports_are_its_own() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let run = user.run(&["--name", "web"], &machine.peer("who 80"));
        wait_until("the service", SOON, || Api::USER.port("web", 80).is_some());
        let address = Api::USER.host("web").address_v4;
        let client = user.run(&["--name", "client", "--ephemeral-range", "50000-50009"], &["sleep", "100"]);
        Api::USER.host("client");
        let crowd = user.exec("client", &machine.peer(&format!("crowd {address}:80")));
        let target = format!("{address}:80");
        let text = wait_for("the ports to be used up", SOON, || {
            let finished = user.minato_finish(&["explain", &target, "--from", "client"]);
            let all = finished.status.code() == Some(14) && finished.stdout.contains("10 of them by e2e");
            all.then_some(finished.stdout)
        });
        run_fix(&user, &text);
        crowd.finish();
        explain(&user, &[&target, "--from", "client"], 0, &["accepted"]);
        client.stop();
        run.stop();
    });
}

#[test]
fn programs_that_share_a_port_are_all_named() {
    Machine::run(&["socat"], |machine| {
        let user = machine.user();
        let start = |word: &str| {
            let mut command = user.command("socat");
            command.args(["TCP6-LISTEN:7000,ipv6only=0,reuseport,fork", &format!("SYSTEM:echo {word}")]);
            let program = user.start(command);
            wait_until("the server", SOON, || net::read_from("127.0.0.1:7000").is_some());
            program
        };
        let right = start("right");
        let text = explain(&user, &["7000"], 0, &["accepted"]);
        assert!(!text.contains("rivals"), "{text}");
        let wrong = start("wrong");
        wait_until("both to listen", SOON, || {
            (0..20).any(|_| net::read_from("127.0.0.1:7000").is_some_and(|text| text == "wrong\n"))
        });
        let text = explain(&user, &["7000"], 16, &["✗ rivals", "any of socat"]);
        run_fix(&user, &text);
        wrong.finish();
        explain(&user, &["7000"], 0, &["accepted"]);
        assert!((0..20).all(|_| net::read_from("127.0.0.1:7000").is_some_and(|text| text == "right\n")));
        right.stop();
    });
}

#[test]
fn a_port_that_another_program_has_is_not_the_hosts() {
    Machine::run(&["socat"], |machine| {
        let user = machine.user();
        let mut command = user.command("socat");
        command.args(["TCP6-LISTEN:8080,ipv6only=0,reuseaddr,fork", "SYSTEM:echo stranger"]);
        let stranger = user.start(command);
        let run = user.run(&["--name", "web"], &machine.peer("who 8080"));
        wait_until("the service", SOON, || Api::USER.port("web", 8080).is_some());
        wait_until("the stranger", SOON, || net::read_from("127.0.0.1:8080").is_some());
        let text = explain(&user, &["8080"], 16, &["✗ forward", "socat", "so no forward to web can"]);
        run_fix(&user, &text);
        works(&user, "8081", "127.0.0.1:8081");
        stranger.stop();
        run.stop();
    });
}

#[test]
fn a_stranger_on_the_other_family_is_replaced() {
    Machine::run(&["socat"], |machine| {
        let user = machine.user();
        let run = user.run(&["--name", "web", "-p", "127.0.0.1:8080:80"], &machine.peer("who 80"));
        wait_until("the service", SOON, || net::read_from("127.0.0.1:8080").is_some());
        let mut command = user.command("socat");
        command.args(["TCP6-LISTEN:8080,bind=[::1],reuseaddr,fork", "SYSTEM:echo stranger"]);
        let stranger = user.start(command);
        wait_until("the stranger", SOON, || net::read_from("[::1]:8080").is_some());
        let text = explain(&user, &["8080"], 16, &["two programs share the number"]);
        run_fix(&user, &text);
        stranger.finish();
        works(&user, "8080", "[::1]:8080");
        run.stop();
    });
}

#[test]
fn udp_and_tcp_on_the_same_number_are_told_apart() {
    Machine::run(&["socat"], |machine| {
        let user = machine.user();
        let serve = ["socat", "UDP6-LISTEN:5300,ipv6only=0,fork", "EXEC:cat"];
        let run = user.run(&["--name", "udp", "-p", "5353:5300"], &serve);
        wait_until("the service", SOON, || Api::USER.port("udp", 5300).is_some());
        let text = explain(&user, &["5353"], 11, &["✗ service", "is bound to 5300/udp; 5300/tcp is another port"]);
        run_fix(&user, &text);
        wait_until("an answer", SOON, || net::ask("127.0.0.1:5353", "hello").is_ok_and(|(_, text)| text == "hello"));
        explain(&user, &["5353/udp"], 0, &["✓ service"]);
        run.stop();
    });
}

/// Each with a service that is looked for in the wrong transport: on this machine behind a forward, without one, in its host.
#[test]
fn a_service_of_the_other_transport_is_named_with_the_way_to_it() {
    Machine::run(&["socat"], |machine| {
        let user = machine.user();
        let greet = |port: u16| {
            [
                "socat".to_owned(),
                format!("TCP6-LISTEN:{port},ipv6only=0,reuseaddr,fork"),
                "SYSTEM:echo hello".to_owned(),
            ]
        };
        let web = user.run(&["--name", "web", "-p", "8080:80"], &greet(80));
        wait_until("the service", SOON, || net::read_from("127.0.0.1:8080").is_some());
        let parts = ["in web is bound to 80/tcp; 80/udp is another port"];
        let behind = explain(&user, &["8080/udp"], 11, &parts);
        assert_eq!(printed_fix(&behind), "minato explain 8080/tcp");
        run_fix(&user, &behind);
        let inside = explain(&user, &["web:80/udp"], 11, &parts);
        assert_eq!(printed_fix(&inside), "minato explain web:80/tcp");
        run_fix(&user, &inside);

        let tcp = user.exec("web", &greet(3000));
        wait_until("the service", SOON, || Api::USER.port("web", 3000).is_some());
        let text = explain(&user, &["3000/udp"], 11, &["in web is bound to 3000/tcp; 3000/udp is another port"]);
        run_fix(&user, &text);
        works(&user, "3000", "127.0.0.1:3000");
        let udp = user.exec("web", &["socat", "UDP6-LISTEN:5300,ipv6only=0,fork", "EXEC:cat"]);
        wait_until("the service", SOON, || Api::USER.port("web", 5300).is_some());
        let text = explain(&user, &["5300"], 11, &["in web is bound to 5300/udp; 5300/tcp is another port"]);
        run_fix(&user, &text);
        wait_until("an answer", SOON, || net::ask("127.0.0.1:5300", "hello").is_ok_and(|(_, text)| text == "hello"));
        udp.stop();
        tcp.stop();
        web.stop();
    });
}

#[test]
fn without_a_network_that_is_the_first_thing_said() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let text = explain(&user, &["web.test:80"], 10, &["no minato network is running"]);
        assert!(printed_fix(&text).contains("'ADDRESS web.test'"), "{text}");
        let json = user.minato_finish(&["explain", "8080", "--json"]).expect_code(10).stdout;
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        let explanation = &json["explanation"];
        assert_eq!(explanation["code"], 10);
        assert_eq!(explanation["hops"][0]["state"], "broken");
        assert_eq!(explanation["hops"][0]["evidence"], "nothing is on 127.0.0.1:8080");
        let fix = explanation["fixes"][0].as_str().expect("a fix");
        let run = start_fix(&user, fix, &machine.peer("who 8080"));
        works(&user, "8080", "127.0.0.1:8080");
        run.stop();
    });
}
