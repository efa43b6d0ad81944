//! The names of a network, asked by real programs.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

use crate::machine::{Account, Machine, SOON, wait_for, wait_until};
use crate::support::api::Api;
use crate::support::names::NameServer;
use crate::support::servers;

/// What a program inside `client` prints.
fn inside(user: &Account<'_>, command: &[&str]) -> String {
    user.exec("client", command).finish().stdout.trim_end().to_owned()
}

/// The short answer of dig.
fn dig(user: &Account<'_>, arguments: &[&str]) -> String {
    inside(user, &[&["dig", "+short", "+timeout=5", "+tries=1"], arguments].concat())
}

#[test]
fn hosts_know_each_other_by_name() {
    Machine::run(&["nginx", "curl", "getent", "dig", "python3"], |machine| {
        let nginx = servers::nginx(machine, 80, "found by name");
        let user = machine.user();
        let client = user.run(&["--name", "client"], &["sleep", "100"]);
        let web = user.run(&["--name", "web"], &nginx.command);
        wait_until("nginx to listen", SOON, || Api::USER.port("web", 80).is_some());
        let (v4, v6) =
            (Api::USER.host("web").address_v4.to_string(), Api::USER.host("web").address_v6.expect("IPv6").to_string());

        for name in ["web", "web.default.internal", "WEB.Default.Internal"] {
            let url = format!("http://{name}/");
            assert_eq!(inside(&user, &["curl", "--silent", "--max-time", "5", &url]), "found by name", "{name}");
            assert!(inside(&user, &["getent", "ahostsv4", name]).starts_with(&v4), "{name}");
            assert!(inside(&user, &["getent", "ahostsv6", name]).starts_with(&v6), "{name}");
        }
        let script = "import socket; print(sorted({a[4][0] for a in socket.getaddrinfo('web', 80)})); \
                      print(socket.gethostbyaddr(socket.gethostbyname('web'))[0])";
        assert_eq!(inside(&user, &["python3", "-c", script]), format!("['{v4}', '{v6}']\nweb.default.internal"));
        assert!(inside(&user, &["getent", "hosts", &v6]).ends_with("web.default.internal"));

        // Without the search domain, as musl's resolver and dig ask.
        for server in
            [Api::USER.network().gateway_v4.to_string(), Api::USER.network().gateway_v6.expect("IPv6").to_string()]
        {
            let at = format!("@{server}");
            for transport in ["+notcp", "+tcp"] {
                assert_eq!(dig(&user, &[&at, transport, "web", "A"]), v4, "{server} {transport}");
                assert_eq!(dig(&user, &[&at, transport, "-x", &v4]), "web.default.internal.", "{server} {transport}");
            }
        }
        let whole = inside(&user, &["dig", "wEb.default.Internal", "A"]);
        assert!(whole.contains("\nwEb.default.Internal.\t0\tIN\tA\t") && whole.contains(" aa "), "{whole}");
        assert!(whole.contains("udp: 1232"), "no EDNS: {whole}");
        let missing = inside(&user, &["dig", "mail.default.internal", "A"]);
        assert!(
            missing.contains("status: NXDOMAIN") && missing.contains("IN\tSOA\tgateway.default.internal."),
            "{missing}"
        );
        let nothing = inside(&user, &["dig", "web.default.internal", "MX"]);
        assert!(nothing.contains("status: NOERROR") && nothing.contains("ANSWER: 0, AUTHORITY: 1"), "{nothing}");

        web.stop();
        assert!(inside(&user, &["dig", "web.default.internal"]).contains("status: NXDOMAIN"), "it has ended");
        client.stop();
    });
}

#[test]
fn services_are_found_by_their_registered_names() {
    Machine::run(&["dig", "bash"], |machine| {
        let user = machine.user();
        let client = user.run(&["--name", "client"], &["sleep", "100"]);
        let web = user.run(&["--name", "web"], &["sleep", "100"]);
        Api::USER.host("client");
        Api::USER.host("web");
        let service = |name: &str| dig(&user, &[name, "SRV"]);
        assert_eq!(service("_http._tcp.web"), "");
        let server = user.exec("web", &machine.peer("who 80"));
        wait_for("the service", SOON, || (service("_http._tcp.web") == "0 0 80 web.default.internal.").then_some(()));
        assert_eq!(service("_http._tcp.web.default.internal"), "0 0 80 web.default.internal.");
        let local = user.exec("web", &machine.peer("line 127.0.0.1:25"));
        wait_until("the other service", SOON, || Api::USER.port("web", 25).is_some());
        assert_eq!(service("_smtp._tcp.web"), "", "nobody else can reach it");
        server.stop();
        wait_for("its end", SOON, || service("_http._tcp.web").is_empty().then_some(()));
        local.stop();
        web.stop();
        client.stop();
    });
}

#[test]
fn other_names_are_asked_of_the_machines_resolvers() {
    Machine::run(&["dig", "getent", "python3"], |machine| {
        let records = ["small.test 60 192.0.2.7", "alias.test 60 =small.test", "large.test 60 20000"];
        let server = NameServer::start(machine, &records);
        let user = machine.user();
        let client = user.run(&["--name", "client"], &["sleep", "100"]);
        Api::USER.host("client");
        assert!(inside(&user, &["getent", "ahostsv4", "alias.test"]).starts_with("192.0.2.7"));
        assert!(!server.asked().iter().any(|asked| asked.contains("internal")), "{:?}", server.asked());

        // Too large for a datagram: the program is told, and asks by TCP.
        let letters = |text: &str| text.matches('x').count();
        assert_eq!(letters(&dig(&user, &["large.test", "TXT"])), 20000);
        assert!(inside(&user, &["dig", "+ignore", "large.test", "TXT"]).contains(" tc "));
        // Several on one connection, ours and others.
        let both = ["+tcp", "+keepopen", "large.test", "TXT", "client", "A", "small.test", "A"];
        let answers = dig(&user, &both);
        let address = Api::USER.host("client").address_v4.to_string();
        assert_eq!(letters(&answers), 20000, "{answers}");
        assert!(answers.ends_with(&format!("\n{address}\n192.0.2.7")), "{answers}");
        client.stop();
    });
}

#[test]
fn nonsense_does_not_silence_the_gateway() {
    Machine::run(&["dig"], |machine| {
        let user = machine.user();
        let client = user.run(&["--name", "client"], &["sleep", "100"]);
        Api::USER.host("client");
        let gateway = format!("{}:53", Api::USER.network().gateway_v4);
        let address = Api::USER.host("client").address_v4.to_string();
        let told = user.exec("client", &machine.peer(&format!("babble {gateway}"))).finish().expect_success().stderr;
        assert_eq!(told, "closed 1\nopened 100\n");
        for transport in ["+notcp", "+tcp"] {
            assert_eq!(dig(&user, &[transport, "client", "A"]), address, "{transport}");
        }
        client.stop();
    });
}

/// Sends what is no question by UDP and TCP, then opens many connections that say nothing.
pub(crate) fn babble(gateway: &str) {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a port");
    for length in 0..100u8 {
        let bytes: Vec<u8> = (0..length).map(|index| index.wrapping_mul(length).wrapping_add(length)).collect();
        socket.send_to(&bytes, gateway).expect("to send");
    }
    let mut stream = TcpStream::connect(gateway).expect("to connect");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time limit");
    stream.write_all(&[0xff, 0xff, 1, 2, 3]).expect("to send");
    eprintln!("closed {}", u8::from(stream.read(&mut [0]).is_ok_and(|count| count == 0)));
    let opened: Vec<_> = (0..100).map_while(|_| TcpStream::connect(gateway).ok()).collect();
    eprintln!("opened {}", opened.len());
}

#[test]
fn services_of_the_machine_that_resolve_names_are_out_of_reach() {
    Machine::run(&["getent", "python3"], |machine| {
        // As glibc's cache has it; it would be asked first.
        std::fs::create_dir("/run/nscd").expect("a directory");
        let listener = std::os::unix::net::UnixListener::bind("/run/nscd/socket").expect("a socket");
        machine.root().finish("chmod", &["666", "/run/nscd/socket"]).expect_success();
        let user = machine.user();
        let script = "import socket; socket.socket(socket.AF_UNIX).connect('/run/nscd/socket')";
        user.finish("python3", &["-c", script]).expect_success();
        let client = user.run(&["--name", "client"], &["sleep", "100"]);
        let address = Api::USER.host("client").address_v4.to_string();
        user.exec("client", &["python3", "-c", script]).finish().expect_stderr(&["ConnectionRefusedError"]);
        assert!(inside(&user, &["getent", "ahostsv4", "client"]).starts_with(&address));
        client.stop();
        drop(listener);
    });
}

#[test]
fn services_that_begin_later_are_out_of_reach_too() {
    Machine::run(&["python3"], |machine| {
        let user = machine.user();
        let client = user.run(&["--name", "client"], &["sleep", "100"]);
        Api::USER.host("client");
        for path in ["/run/nscd/socket", "/run/systemd/resolve/io.systemd.Resolve"] {
            let directory = std::path::Path::new(path).parent().expect("a directory");
            assert!(!directory.exists(), "{path} is to be new");
            // Each for so long that the engine has looked: no directory, and an empty one.
            std::thread::sleep(Duration::from_millis(300));
            std::fs::create_dir_all(directory).expect("a directory");
            std::thread::sleep(Duration::from_millis(300));
            let _listener = std::os::unix::net::UnixListener::bind(path).expect("a socket");
            machine.root().finish("chmod", &["666", path]).expect_success();
            let connect = format!("socket.socket(socket.AF_UNIX).connect('{path}')");
            let script = format!("import socket; socket.setdefaulttimeout(1); {connect}");
            user.finish("python3", &["-c", &script]).expect_success();
            wait_until(&format!("{path} to be covered"), SOON, || {
                let inside = user.exec("client", &["python3", "-c", &script]).finish();
                inside.stderr.contains("ConnectionRefusedError")
            });
        }
        client.stop();
    });
}

#[test]
fn names_of_the_machines_own_domain_are_still_completed() {
    Machine::run(&["getent"], |machine| {
        let server = NameServer::start(machine, &["printer.corp.test 60 192.0.2.9"]);
        std::fs::write("/etc/resolv.conf", "search corp.test\nnameserver 198.51.100.2\noptions timeout:3\n")
            .expect("written");
        let user = machine.user();
        let client = user.run(&["--name", "client"], &["sleep", "100"]);
        Api::USER.host("client");
        let file = inside(&user, &["cat", "/etc/resolv.conf"]);
        assert!(file.contains("\nsearch default.internal corp.test\noptions timeout:3"), "{file}");
        assert!(inside(&user, &["getent", "ahostsv4", "printer"]).starts_with("192.0.2.9"));
        assert!(server.asked().contains(&"printer.corp.test A".to_owned()));
        client.stop();
    });
}

/// In place, as an editor does it, and by a file that takes its place, as most programs do it.
#[test]
fn a_host_follows_what_the_machine_searches() {
    Machine::run(&["cp", "getent", "mount", "umount"], |machine| {
        let server =
            NameServer::start(machine, &["printer.first.test 60 192.0.2.9", "printer.second.test 60 192.0.2.8"]);
        // An `/etc` whose file can be replaced, which a mount can't be.
        let own = "cp -a /etc /run/work/etc && umount /etc/resolv.conf && mount --bind /run/work/etc /etc";
        machine.root().finish("sh", &["-c", own]).expect_success();
        for account in [machine.user(), machine.root()] {
            let text = |more: &str| format!("{more}nameserver 198.51.100.2\n");
            std::fs::write("/etc/resolv.conf", text("")).expect("written");
            let client = account.run(&["--name", "client"], &["sleep", "100"]);
            let sees = |more: &str| {
                wait_until(&format!("a host that sees {more:?}"), SOON, || {
                    let file = account.exec("client", &["cat", "/etc/resolv.conf"]).finish().stdout;
                    assert!(!file.contains("198.51.100.2"), "not the engine's: {file}");
                    file.contains("nameserver 10.77.0.1\n") && file.contains(more)
                });
            };
            sees("search default.internal\n");
            std::fs::write("/etc/resolv.conf", text("search first.test\noptions ndots:2\n")).expect("written");
            sees("search default.internal first.test\noptions ndots:2\n");
            for (domain, address) in [("second.test", "192.0.2.8"), ("first.test", "192.0.2.9")] {
                std::fs::write("/etc/resolv.conf.new", text(&format!("search {domain}\n"))).expect("written");
                std::fs::rename("/etc/resolv.conf.new", "/etc/resolv.conf").expect("replaced");
                wait_until("the engine's file", SOON, || {
                    let file = account.exec("client", &["cat", "/etc/resolv.conf"]).finish().stdout;
                    file.contains(&format!("search default.internal {domain}\n"))
                });
                sees(&format!("search default.internal {domain}\n"));
                let printer = account.exec("client", &["getent", "ahostsv4", "printer"]).finish().stdout;
                assert!(printer.starts_with(address), "{printer}");
            }
            assert!(server.asked().contains(&"printer.second.test A".to_owned()));
            client.stop();
            wait_until("the engine's end", SOON, || machine.engines().is_empty());
        }
    });
}
