//! `minato lease`: ports that nobody else gets until their servers come.

use std::collections::HashSet;
use std::fs;
use std::io::{ErrorKind, Write};
use std::net::{TcpListener, TcpStream};

use crate::machine::{Account, Machine, SOON, wait_for, wait_until};
use crate::support::net;

fn lease(user: &Account<'_>, arguments: &[&str]) -> Vec<u16> {
    let printed = user.minato_finish(&[&["lease"], arguments].concat()).expect_success().stdout;
    printed.lines().map(|line| line.parse().expect("a port")).collect()
}

fn keepers_are_gone(machine: &Machine) {
    wait_until("the keepers' end", SOON, || machine.processes_named("minato-lease").is_empty());
}

/// Whoever waits for a lock of the starter's, or for the end of a pipe, would wait for the keeper's.
#[test]
fn what_stays_in_the_background_keeps_nothing_open_that_its_starter_had() {
    Machine::run(&["flock"], |machine| {
        let user = machine.user();
        fs::write(machine.work().join("minato.toml"), "[host.a]\ncommand = 'sleep 1000'\n").expect("a file");
        let stays = [(&["lease", "--within", "60"][..], "minato-lease"), (&["up", "-d"], "minato-up")];
        for (number, (command, keeper)) in stays.into_iter().enumerate() {
            let locked = format!("exec 9>{number}.lock; flock 9; exec /run/bin/minato {}", command.join(" "));
            user.finish("sh", &["-c", &locked]).expect_success();
            assert!(!machine.processes_named(keeper).is_empty(), "it has ended before its time");
            user.finish("flock", &["-n", &format!("{number}.lock"), "true"]).expect_success();
        }
        user.minato_finish(&["down"]).expect_success();
        machine.processes_named("minato-lease").iter().for_each(crate::machine::Process::kill);
        keepers_are_gone(machine);
    });
}

#[test]
fn leased_ports_come_to_their_servers_and_to_nobody_else() {
    Machine::run(&["python3"], |machine| {
        let user = machine.user();
        // So few ports that whoever could get a leased one would.
        fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40039").expect("the range");
        let ports = lease(&user, &["20"]);
        assert_eq!(ports.iter().collect::<HashSet<_>>().len(), 20);
        assert!(
            ports.iter().all(|port| (40000..=40039).contains(port) && net::is_refused(&format!("127.0.0.1:{port}")))
        );

        let mut given = Vec::new();
        while let Ok(listener) = TcpListener::bind("127.0.0.1:0") {
            given.push(listener);
        }
        assert!(given.iter().all(|listener| !ports.contains(&listener.local_addr().expect("an address").port())));
        let server = given[0].local_addr().expect("an address");
        let mut connections = Vec::new();
        while let Ok(connection) = TcpStream::connect(server) {
            connections.push(connection);
        }
        assert!(connections.iter().all(|one| !ports.contains(&one.local_addr().expect("an address").port())));
        let rude = user.finish("python3", &["-c", &format!("import socket; socket.socket().bind(('', {}))", ports[0])]);
        rude.expect_code(1).expect_stderr(&["Address already in use"]);
        drop((connections, given));

        let port = ports[0].to_string();
        let web = user.start(user.command("python3").args(["-m", "http.server", &port]));
        wait_for("an answer", SOON, || net::http_get(&format!("127.0.0.1:{port}"), "/"));
        let second = TcpListener::bind(("0.0.0.0", ports[0])).map_err(|error| error.kind());
        assert_eq!(second.err(), Some(ErrorKind::AddrInUse), "a lease is for one server");
        web.stop();
        // std sets SO_REUSEADDR.
        let servers: Vec<_> =
            ports.iter().map(|port| TcpListener::bind(("127.0.0.1", *port)).expect("a leased port")).collect();
        keepers_are_gone(machine);
        drop(servers);
    });
}

#[test]
fn a_key_gets_the_same_ports_again() {
    Machine::run(&["python3"], |machine| {
        let user = machine.user();
        let ports = lease(&user, &["2", "--for", "tests"]);
        assert_eq!(lease(&user, &["2", "--for", "tests"]), ports, "while they are held");
        assert_ne!(lease(&user, &["2", "--for", "others", "--within", "1"]), ports);
        assert_eq!(lease(&user, &["1", "--for", "tests"]), ports[..1], "a part of them");
        user.minato_finish(&["lease", "3", "--for", "tests"]).expect_code(16).expect_stderr(&["still held"]);
        assert_eq!(machine.processes_with_argument("tests").len(), 1, "one keeper for all that have asked");

        let serve = |port: &u16| {
            let web = user.start(user.command("python3").args(["-m", "http.server", &port.to_string()]));
            wait_for("an answer", SOON, || net::http_get(&format!("127.0.0.1:{port}"), "/"));
            web
        };
        let servers: Vec<_> = ports.iter().map(serve).collect();
        keepers_are_gone(machine);
        let taken = user.minato_finish(&["lease", "2", "--for", "tests"]).expect_code(16);
        taken.expect_stderr(&[&format!("port {}", ports[0]), "held by python3", "try:"]);
        servers.into_iter().for_each(|server| drop(server.stop()));
        // Connections of the servers linger in TIME-WAIT.
        assert_eq!(lease(&user, &["2", "--for", "tests", "--within", "1"]), ports, "after their servers have ended");
        let json = user.minato_json(&["lease", "--for", "tests"]);
        assert_eq!(json["lease"], serde_json::json!([ports[0]]));
        user.minato_finish(&["lease", "--for", "../tests"]).expect_code(2);
        keepers_are_gone(machine);
    });
}

#[test]
fn a_lease_that_nobody_was_told_of_is_given_back() {
    Machine::run(&["sh"], |machine| {
        let user = machine.user();
        let told_nobody = |key: &str| user.finish("sh", &["-c", &format!("/run/bin/minato lease 3 {key} > /dev/full")]);
        for key in ["", "--for tests"] {
            told_nobody(key).expect_code(1).expect_stderr(&["cannot write to standard output"]);
            assert_eq!(machine.processes_named("minato-lease").len(), 0);
        }
        // One that another command was told of stays.
        let ports = lease(&user, &["3", "--for", "tests"]);
        told_nobody("--for tests").expect_code(1);
        assert_eq!(machine.processes_named("minato-lease").len(), 1);
        assert_eq!(lease(&user, &["3", "--for", "tests", "--within", "1"]), ports);
        machine.processes_named("minato-lease").iter().for_each(crate::machine::Process::kill);
    });
}

/// The first command of a key waits for its reader, and a second one is told of the ports meanwhile.
#[test]
fn a_lease_that_a_second_command_was_told_of_stays() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let (reader, mut full) = std::io::pipe().expect("a pipe");
        let size = rustix::pipe::fcntl_getpipe_size(&full).expect("its size");
        full.write_all(&vec![0; size]).expect("room");
        let mut first = user.minato(&["lease", "3", "--for", "tests"]).stdout(full).spawn().expect("minato");
        wait_until("its keeper", SOON, || machine.processes_named("minato-lease").len() == 1);
        let ports = lease(&user, &["3", "--for", "tests"]);
        drop(reader);
        wait_for("the end of the first", SOON, || first.try_wait().expect("its state"));
        let keepers = machine.processes_named("minato-lease");
        assert_eq!(keepers.len(), 1, "the second was told that {ports:?} are held");
        keepers.iter().for_each(crate::machine::Process::kill);
    });
}
