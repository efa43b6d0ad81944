//! `minato capture`: packets with the processes at both ends, on the terminal and for Wireshark.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;

use crate::machine::{Account, Machine, Program, SOON, wait_for, wait_until};
use crate::support::api::Api;
use crate::support::{net, servers};

/// A client that connects, asks, reads an answer, and stays for a while.
const CLIENT: &str = "import socket, sys, time
s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')
s.recv(100)
time.sleep(2)";

/// Starts a capture and waits until it sees packets.
fn capture(user: &Account<'_>, arguments: &[&str]) -> Program {
    let capture = user.start(user.minato(&[&["capture"], arguments].concat()));
    wait_until("the capture to begin", SOON, || capture.stderr().contains("Ctrl-C ends it"));
    capture
}

#[test]
fn packets_name_process_and_service_at_both_ends() {
    Machine::run(&["nginx", "python3"], |machine| {
        let user = machine.user();
        let nginx = servers::nginx(machine, 80, "page");
        let web = user.run(&["--name", "web", "-p", "8080:80"], &nginx.command);
        let client = user.run(&["--name", "client"], &["sleep", "100"]);
        wait_for("a page", SOON, || net::http_get("127.0.0.1:8080", "/"));
        Api::USER.host("client");

        let lines = capture(&user, &["web"]);
        let only_3000 = capture(&user, &["web", "3000"]);
        let json = capture(&user, &["web", "http", "--json", "-c", "1"]);
        let address = Api::USER.host("web").address_v4.to_string();
        let asks = user.exec("client", &["python3", "-c", CLIENT, &address, "80"]);
        asks.finish().expect_success();
        let local = user.start({
            let mut command = user.command("python3");
            command.args(["-c", CLIENT, "127.0.0.1", "8080"]);
            command
        });
        local.finish().expect_success();

        lines.signal(Signal::INT);
        let lines = lines.finish().expect_success().expect_stderr(&["packets; none was dropped"]);
        let has = |parts: &[&str]| {
            let found = lines.stdout.lines().any(|line| parts.iter().all(|part| line.contains(part)));
            assert!(found, "no line with {parts:?} in:\n{}", lines.stdout);
        };
        let server = "web nginx ";
        has(&[
            "Z  client python3 ",
            " (ephemeral) → web nginx ",
            " port 80 (registered name http): asks for a connection (tcp over IPv4)",
        ]);
        has(&[server, " port 80 (registered name http) → client python3 ", "accepts the connection"]);
        has(&["client python3 ", "sends 18 bytes"]);
        has(&["client python3 ", "has no more to send"]);
        // Through the forward: the service's kernel sees the gateway, we know better.
        has(&[" for 127.0.0.1:", " → web nginx ", "asks for a connection"]);

        only_3000.signal(Signal::INT);
        let only_3000 = only_3000.finish().expect_success().expect_stderr(&["0 packets"]);
        assert_eq!(only_3000.stdout, "");
        let packet: serde_json::Value = serde_json::from_str(&json.finish().expect_success().stdout).expect("JSON");
        assert_eq!(packet["version"], 1);
        assert_eq!(packet["packet"]["destination"]["process"]["name"], "nginx");
        web.stop();
        client.stop();
    });
}

#[test]
fn who_is_not_bound_to_a_family_does_not_refuse_in_it() {
    Machine::run(&["python3"], |machine| {
        let user = machine.user();
        let other = user.run(&["--name", "other"], &machine.peer("line 0.0.0.0:80"));
        let web = user.run(&["--name", "web"], &["sleep", "100"]);
        wait_until("the service", SOON, || Api::USER.port("other", 80).is_some());
        Api::USER.host("web");
        let lines = capture(&user, &["web", "80"]);
        // By name: first to the address of the family in which nobody listens.
        let v6 = Api::USER.host("other").address_v6.expect("IPv6").to_string();
        user.exec("web", &["python3", "-c", CLIENT, &v6, "80"]).finish().expect_code(1);
        let v4 = Api::USER.host("other").address_v4.to_string();
        user.exec("web", &["python3", "-c", CLIENT, &v4, "80"]).finish().expect_success();
        lines.signal(Signal::INT);
        let text = lines.finish().expect_success().stdout;
        let line =
            |what: &str| text.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("{what}: {text}"));
        let refuses = line(": refuses (tcp over IPv6)");
        assert!(refuses.contains("Z  other port 80 ") && !refuses.contains("other e2e"), "{refuses}");
        let accepts = line(": accepts the connection (tcp over IPv4)");
        assert!(accepts.contains("Z  other e2e "), "{accepts}");
        for program in [web, other] {
            program.stop();
        }
    });
}

#[test]
fn a_capture_file_opens_in_wireshark_with_processes_as_comments() {
    Machine::run(&["nginx", "curl", "tshark"], |machine| {
        let user = machine.user();
        let nginx = servers::nginx(machine, 80, "page");
        let web = user.run(&["--name", "web", "-p", "8080:80"], &nginx.command);
        wait_for("a page", SOON, || net::http_get("127.0.0.1:8080", "/"));

        let file = "/run/work/web.pcapng";
        let writing = capture(&user, &["web", "-w", file]);
        user.exec("web", &["curl", "-sS", "-6", "http://[::1]/"]).finish().expect_success();
        wait_for("another page", SOON, || net::http_get("127.0.0.1:8080", "/"));
        writing.signal(Signal::INT);
        writing.finish().expect_success().expect_stderr(&["none was dropped"]);
        assert_eq!(fs::metadata(file).expect("the file").permissions().mode() & 0o777, 0o600);

        let tshark = |arguments: &[&str]| {
            let finished = user.finish("tshark", &[&["-n", "-r", file], arguments].concat()).expect_success();
            finished.stdout
        };
        let comments =
            tshark(&["-T", "fields", "-e", "frame.interface_name", "-e", "tcp.flags.str", "-e", "frame.comment"]);
        assert!(comments.lines().count() >= 16, "{comments}");
        for line in comments.lines() {
            assert!(line.starts_with("lo\t") && line.contains(" port 80 (registered name http)"), "{line}");
            assert!(line.contains("web nginx "), "{line}");
        }
        assert_eq!(tshark(&["-Y", "_ws.malformed || _ws.expert.severity == error"]), "");
        let pages = tshark(&["-Y", "http.response.code == 200 && frame.comment contains \"nginx\""]);
        assert_eq!(pages.lines().count(), 2, "{pages}");

        user.minato_finish(&["capture", "web", "-w", file]).expect_code(16).expect_stderr(&["web.pcapng exists"]);
        web.stop();
    });
}

#[test]
fn a_capture_ends_in_good_order() {
    Machine::run(&["python3", "tshark"], |machine| {
        let user = machine.user();
        user.minato_finish(&["capture", "web"]).expect_code(10).expect_stderr(&["there is no host 'web'"]);
        let web = user.run(&["--name", "web", "-p", "8080:80"], &["python3", "-m", "http.server", "80"]);
        wait_for("a page", SOON, || net::http_get("127.0.0.1:8080", "/"));
        user.minato_finish(&["capture", "other"]).expect_code(10).expect_stderr(&["no host named \"other\""]);

        let full = user.minato_finish(&["capture", "web", "-w", "/dev/full"]).expect_code(1);
        full.expect_stderr(&["cannot write packets to /dev/full", "No space left on device", "try: "]);
        machine.root().finish("mkdir", &["/run/work/small"]).expect_success();
        let small = ["-t", "tmpfs", "-o", "size=32k,mode=777", "small", "/run/work/small"];
        machine.root().finish("mount", &small).expect_success();
        let mut filling = capture(&user, &["web", "-w", "/run/work/small/web.pcapng"]);
        wait_until("a full disk", SOON, || {
            net::http_get("127.0.0.1:8080", "/");
            !filling.is_running()
        });
        filling.finish().expect_code(1).expect_stderr(&["No space left on device", "what was written before is whole"]);
        // tshark fails with a file that ends in the middle of a packet.
        let read = user.finish("tshark", &["-n", "-r", "/run/work/small/web.pcapng"]).expect_success();
        assert!(!read.stdout.is_empty() && !read.stderr.contains("cut short"), "{}", read.stderr);
        machine.root().finish("umount", &["/run/work/small"]).expect_success();

        let some = capture(&user, &["web", "-c", "3"]);
        let mut piped = user.command("sh");
        piped.args(["-c", "/run/bin/minato capture web | head -n 2"]);
        let piped = user.start(piped);
        wait_until("the capture to begin", SOON, || piped.stderr().contains("Ctrl-C ends it"));
        let until_end = capture(&user, &["web"]);
        for _ in 0..3 {
            wait_for("a page", SOON, || net::http_get("127.0.0.1:8080", "/"));
        }
        let some = some.finish().expect_success().expect_stderr(&["3 packets;"]);
        assert_eq!(some.stdout.lines().count(), 3, "{}", some.stdout);
        assert_eq!(piped.finish().expect_success().stdout.lines().count(), 2);
        web.stop();
        let all = until_end.finish().expect_success();
        assert!(all.stdout.contains("python3"), "{}", all.stdout);
    });
}

/// Sends 30 datagrams of 1,000 bytes and one of 500, which its kernel is to cut (`UDP_SEGMENT`).
const TRAIN: &str = "import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], int(sys.argv[2])))
s.setsockopt(socket.IPPROTO_UDP, 103, 1000)
s.send(bytes(30500))";

/// From another host, and through a forward.
#[test]
fn datagrams_that_travel_together_are_shown_one_by_one() {
    Machine::run(&["python3", "tshark"], |machine| {
        let user = machine.user();
        let server = user.run(&["--name", "server", "-p", "8080:7000/udp"], &machine.peer("who 7000"));
        let client = user.run(&["--name", "client"], &["sleep", "100"]);
        wait_until("the service", SOON, || net::ask("127.0.0.1:8080", "who").is_ok());
        Api::USER.host("client");
        let file = "/run/work/datagrams.pcapng";
        let lines = capture(&user, &["server", "7000/udp", "--json"]);
        let writing = capture(&user, &["server", "7000/udp", "-w", file, "--snap-length", "1200"]);
        let address = Api::USER.host("server").address_v4.to_string();
        user.exec("client", &["python3", "-c", TRAIN, &address, "7000"]).finish().expect_success();
        user.finish("python3", &["-c", TRAIN, "127.0.0.1", "8080"]).expect_success();

        let to_server =
            |line: &&str| line.contains("a datagram of 1000 bytes") || line.contains("a datagram of 500 bytes");
        let all = || lines.stdout().lines().filter(to_server).count() == 62;
        wait_until("all datagrams", SOON, all);
        lines.signal(Signal::INT);
        for line in lines.finish().expect_success().stdout.lines().filter(to_server) {
            let packet: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let length = if line.contains("of 1000 bytes") { 1042 } else { 542 };
            assert_eq!(packet["packet"]["length"], length, "{line}");
        }
        writing.signal(Signal::INT);
        writing.finish().expect_success().expect_stderr(&["none was dropped"]);
        let sent = "udp.dstport == 7000 && udp.length >= 508";
        let good = format!("{sent} && udp.checksum.status == Good");
        let tshark = |filter: &str| {
            let arguments = ["-n", "-r", file, "-o", "udp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"];
            let found = user.finish("tshark", &[&arguments[..], &["-Y", filter]].concat()).expect_success().stdout;
            found.lines().count()
        };
        // What was cut away by the snap length can't be summed: it is what lies beyond the first of each train.
        assert_eq!((tshark(sent), tshark(&good)), (62, 2));
        assert_eq!(tshark("ip.checksum.status == Bad || _ws.malformed"), 0);
        client.stop();
        server.stop();
    });
}
