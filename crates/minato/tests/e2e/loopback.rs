//! Each host's own address on the machine's loopback.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};

use minato_inspect::{Forward, Transport};

use crate::machine::{Machine, SOON, wait_for, wait_until};
use crate::support::api::Api;
use crate::support::net;

/// The host's loopback address.
fn own(host: &str) -> Ipv4Addr {
    Api::USER.host(host).loopback_v4.expect("an address on the machine's loopback")
}

fn automatic() -> Vec<Forward> {
    let forwards: Vec<Forward> = Api::USER.get("/v1/forwards").expect("an engine");
    forwards.into_iter().filter(|forward| forward.automatic).collect()
}

#[test]
fn services_are_reached_under_their_own_numbers_and_go_with_them() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        // A service that is there at once, one bound to loopback only, one below the first unprivileged port.
        let one = user.run(&["--name", "one"], &machine.peer("who 5432"));
        let two = user.run(&["--name", "two"], &machine.peer("who 5432"));
        let (first, second) = (own("one"), own("two"));
        assert_eq!(first.octets()[..3], [127, 77, 0], "{first}");
        assert_eq!(first.octets()[3], Api::USER.host("one").address_v4.octets()[3]);
        let gateway = Api::USER.network().gateway_v4.to_string();
        for address in [first, second] {
            let seen = wait_for("the service", SOON, || net::read_from(&format!("{address}:5432")));
            assert!(seen.starts_with(&gateway), "{seen}");
            let (_, seen) = wait_for("its UDP twin", SOON, || net::ask(&format!("{address}:5432"), "who").ok());
            assert!(seen.starts_with(&gateway), "{seen}");
        }
        let local = user.exec("one", &machine.peer("who 127.0.0.1:3000"));
        wait_until("what listens on loopback only", SOON, || net::read_from(&format!("{first}:3000")).is_some());
        let low = user.exec("one", &machine.peer("who 80"));
        wait_until("the low port", SOON, || Api::USER.port("one", 80).is_some());
        assert!(net::is_refused(&format!("{first}:80")), "the machine's low ports are not an ordinary user's");
        low.stop();

        let table = user.minato_finish(&["ports", "5432", "--tcp"]).expect_success().stdout;
        assert!(table.contains(&format!("{second}:5432")), "{table}");
        let list = user.minato_finish(&["forward", "ls", "two"]).expect_success().stdout;
        assert!(list.contains(&format!("{second}:5432/tcp")) && list.contains("open (automatic)"), "{list}");
        let ps = user.minato_finish(&["ps"]).expect_success().stdout;
        assert!(ps.contains(&second.to_string()), "{ps}");
        // Nobody asked for them, so nobody can take them away.
        user.minato_finish(&["forward", "rm", "-p", &format!("{first}:3000:3000"), "one"]).expect_code(12);

        local.stop();
        wait_until("the port to be free again", SOON, || TcpListener::bind((first, 3000)).is_ok());
        assert!(net::read_from(&format!("{first}:5432")).is_some(), "the other one goes on");
        two.stop();
        wait_until("the other host's ports to be free", SOON, || TcpListener::bind((second, 5432)).is_ok());
        one.stop();
    });
}

#[test]
fn a_connection_outlives_the_listener_it_came_through() {
    Machine::run(&["python3"], |machine| {
        let user = machine.user();
        let program = "import socket\nl = socket.create_server(('', 4000))\nc, _ = l.accept()\nl.close()\n\
                       while True:\n    d = c.recv(100)\n    if not d: break\n    c.sendall(d)";
        let run = user.run(&["--name", "once"], &["python3", "-c", program]);
        let address = own("once");
        let mut stream = wait_for("the service", SOON, || net::connect(&format!("{address}:4000")).ok());
        wait_until("the port to be free again", SOON, || TcpListener::bind((address, 4000)).is_ok());
        stream.write_all(b"still there").expect("to send");
        let mut answer = [0; 11];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"still there");
        drop(stream);
        run.finish().expect_success();
    });
}

#[test]
fn a_port_that_is_taken_is_a_warning_and_what_somebody_asks_for_goes_first() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let holder = machine.peer("line 0.0.0.0:5432");
        let mut command = user.command(&holder[0]);
        command.args(&holder[1..]);
        let taken = user.start(command);
        wait_until("a program of the machine", SOON, || net::connect("127.0.0.1:5432").is_ok());
        let run = user.run(&["--name", "db"], &machine.peer("line 5432"));
        let address = own("db");
        let words = [format!("{address}:5432/tcp is in use"), format!("(pid {})", taken.id())];
        wait_until("a warning that names the holder", SOON, || words.iter().all(|word| run.stderr().contains(word)));
        let other = user.exec("db", &machine.peer("who 6000"));
        wait_until("another port", SOON, || net::read_from(&format!("{address}:6000")).is_some());
        taken.stop();

        // A forward of every address claims the number; the host's own gives way, and comes back.
        let web = user.run(&["--name", "web"], &machine.peer("who 6000"));
        let second = own("web");
        wait_until("the same port of another host", SOON, || net::read_from(&format!("{second}:6000")).is_some());
        user.minato_finish(&["forward", "add", "-p", "0.0.0.0:6000:6000", "db"]).expect_success();
        let tcp = |forward: &Forward| forward.transport == Transport::Tcp && forward.host_port == 6000;
        assert!(!automatic().iter().any(tcp), "{:?}", automatic());
        assert!(net::read_from("127.0.0.1:6000").is_some());
        user.minato_finish(&["forward", "rm", "-p", "0.0.0.0:6000:6000", "db"]).expect_success();
        for address in [address, second] {
            wait_until("its own port again", SOON, || net::read_from(&format!("{address}:6000")).is_some());
        }
        // `all` means what has been asked for.
        user.minato_finish(&["forward", "add", "-p", "all", "web"]).expect_success();
        user.minato_finish(&["forward", "rm", "-p", "all", "web"]).expect_success();
        assert!(net::read_from(&format!("{second}:6000")).is_some());
        web.stop();
        other.stop();
        run.stop();
    });
}

#[test]
fn what_gave_way_comes_back_when_the_other_host_ends() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let web = user.run(&["--name", "web"], &machine.peer("who 6000"));
        let at = format!("{}:6000", own("web"));
        wait_until("its own port", SOON, || net::read_from(&at).is_some());
        let db = user.run(&["--name", "db", "-p", "0.0.0.0:6000:7000"], &machine.peer("who 7000"));
        wait_until("the other host's forward", SOON, || net::read_from("127.0.0.1:6000").is_some());
        let given_way = |forward: &Forward| forward.transport == Transport::Tcp && forward.host_port == 6000;
        assert!(!automatic().iter().any(given_way), "{:?}", automatic());
        db.stop();
        wait_until("its own port again", SOON, || net::read_from(&at).is_some());
        web.stop();
    });
}

#[test]
fn what_gave_way_in_vain_comes_back() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let web = user.run(&["--name", "web"], &machine.peer("who 6000"));
        let at = format!("{}:6000", own("web"));
        wait_until("its own port", SOON, || net::read_from(&at).is_some());
        // It is in the way of a forward of every address, and not in the way of the host's own.
        let holder = TcpListener::bind("127.0.0.1:6000").expect("a port of the machine");
        user.minato_finish(&["forward", "add", "-p", "0.0.0.0:6000:6000", "web"]).expect_code(16);
        wait_until("its own port after a forward that failed", SOON, || net::read_from(&at).is_some());
        let more = ["run", "--name", "db", "-p", "0.0.0.0:6000:6000", "--", "true"];
        user.minato_finish(&more).expect_code(16);
        wait_until("its own port after a host that failed", SOON, || net::read_from(&at).is_some());
        drop(holder);
        web.stop();
    });
}

#[test]
fn a_host_may_go_without() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let run = user.run(&["--name", "quiet", "--no-loopback"], &machine.peer("who 5432"));
        wait_until("the service", SOON, || Api::USER.port("quiet", 5432).is_some());
        assert_eq!(Api::USER.host("quiet").loopback_v4, None);
        // Long enough for what would come.
        std::thread::sleep(std::time::Duration::from_millis(500));
        assert_eq!(automatic(), []);
        assert!(TcpListener::bind("0.0.0.0:5432").is_ok(), "the machine has the number for itself");
        run.stop();
    });
}
