//! `minato run --direct`: connections from outside over sockets of the machine, in the program's own hands.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use minato_inspect::{Event, Flow, FlowState, Forward, Happening};

use crate::machine::{MACHINE_V4, MACHINE_V6, Machine, OUTSIDE_V4, SOON, wait_for, wait_until};
use crate::support::api::Api;
use crate::support::watching::watch;
use crate::support::{net, servers};

const SERVERS: &str = include_str!("direct/servers.py");

/// Where [`SERVERS`] listens.
const PORTS: &str = "8100-8139";

/// A place outside that gives whoever connects a client of an address: it says hello there, as soon as it is told to where
/// that is asked for, and sends back what it gets.
fn clients_at_will(machine: &Machine) {
    machine.outside(|| {
        let listener = TcpListener::bind("[::]:7100").expect("a port");
        thread::spawn(move || {
            for control in listener.incoming().flatten() {
                thread::spawn(move || client(control));
            }
        });
    });
}

/// Tells the client's own address, and how its connection ended.
fn client(mut control: TcpStream) {
    let mut words = BufReader::new(control.try_clone().expect("a copy")).lines();
    let address = words.next().expect("an address").expect("an address");
    let (address, is_told) = address.strip_suffix(" told").map_or((&*address, false), |address| (address, true));
    // Its forward opens soon.
    let mut stream = wait_for("the service", SOON, || net::connect(address).ok());
    let own = stream.local_addr().expect("an address");
    writeln!(control, "{} {}", own.ip(), own.port()).expect("to tell it");
    if is_told {
        words.next();
    }
    let end = match echo(&mut stream) {
        Ok(()) => "end",
        Err(error) if error.kind() == ErrorKind::ConnectionReset || error.kind() == ErrorKind::BrokenPipe => "reset",
        Err(_) => "neither",
    };
    drop(stream);
    let _ = writeln!(control, "{end}");
}

fn echo(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"hello\n")?;
    let mut buffer = vec![0; 65536];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            length => stream.write_all(&buffer[..length])?,
        }
    }
}

/// Runs these servers in a host, for an ordinary user and for root.
fn servers_do(machine: &Machine, what: &str, parts: &[&str]) {
    clients_at_will(machine);
    let forwards = [format!("{MACHINE_V4}:{PORTS}:{PORTS}"), format!("[{MACHINE_V6}]:{PORTS}:{PORTS}")];
    for account in [machine.user(), machine.root()] {
        let flags = ["--direct", "-p", &forwards[0], "-p", &forwards[1]];
        let python = ["python3", "-c", SERVERS, OUTSIDE_V4, MACHINE_V4, MACHINE_V6, what];
        let finished = account.run(&flags, &python).finish().expect_success();
        assert_eq!(finished.stdout.lines().collect::<Vec<_>>(), parts, "{}", finished.stderr);
        assert_eq!(finished.stderr, "");
    }
}

#[test]
fn servers_of_every_kind_work_as_ever() {
    const PARTS: &str = "plain_servers calls out_of_descriptors idle_meanwhile both_families asking_all_the_time \
                         nobody_there threads processes waiting late options others";
    let parts: Vec<&str> = PARTS.split(' ').collect();
    Machine::run(&["python3"], |machine| servers_do(machine, "kinds", &parts));
}

#[test]
fn who_gets_many_clients_is_handed_some_over() {
    let parts = ["more_than_are_handed_over", "quiet_again", "waiting_since_then"];
    Machine::run(&["python3"], |machine| servers_do(machine, "crowds", &parts));
}

/// A page that a client outside gets, with the answer's head.
fn page(machine: &Machine, address: &str) -> Option<String> {
    let address = address.to_owned();
    machine.outside(move || net::http_get(&address, "/"))
}

#[test]
fn real_servers_answer_and_see_their_clients() {
    Machine::run(&["nginx", "apache2", "vsftpd", "python3"], |machine| {
        let root = machine.root();
        let (nginx, apache) = (servers::nginx(machine, 80, "nginx"), servers::apache(machine, 81, "apache"));
        let vsftpd = servers::vsftpd(machine);
        let forwards = format!("{MACHINE_V4}:8080-8083:80-83");
        let ftp = format!("{MACHINE_V4}:2121:21");
        let web = root.run(&["--name", "all", "--direct", "-p", &forwards, "-p", &ftp], &nginx.command);
        Api::ROOT.host("all");
        let others = [
            root.exec("all", &apache.command),
            root.exec("all", &["python3", "-m", "http.server", "82", "--bind", "0.0.0.0"]),
            root.exec("all", &vsftpd.command),
        ];
        for (port, part) in [(8080, "nginx"), (8081, "apache"), (8082, "Directory listing")] {
            let address = format!("{MACHINE_V4}:{port}");
            for _ in 0..3 {
                let text = wait_for(part, SOON, || page(machine, &address).filter(|text| text.contains(part)));
                assert!(text.contains("200 OK"), "{text}");
            }
        }
        for log in [&nginx.access_log, &apache.access_log] {
            wait_until("the client in the log", SOON, || {
                std::fs::read_to_string(log).is_ok_and(|text| text.contains(OUTSIDE_V4))
            });
        }
        // It speaks first.
        let greeting = machine.outside(|| {
            wait_for("FTP", SOON, || net::greeting(&format!("{MACHINE_V4}:2121")).filter(|text| !text.is_empty()))
        });
        assert!(greeting.starts_with("220 minato test"), "{greeting}");
        others.into_iter().for_each(|server| drop(server.stop()));
        web.stop();
    });
}

/// The flow through the forward to port 8080 that is established, if there is one.
fn through(direct: bool) -> Option<Flow> {
    let flows: Vec<Flow> = Api::USER.get("/v1/flows")?;
    let mut found = flows.into_iter().filter(|flow| flow.via.is_some_and(|via| via.port() == 8080));
    found.find(|flow| flow.direct == direct && flow.state == FlowState::Established)
}

#[test]
fn each_connection_is_accounted_for() {
    const SERVER: &str = "import select, socket, time
s = socket.create_server(('', 80))
select.select([s], [], [])
c, _ = s.accept()
c.sendall(bytes(100))
select.select([], [], [], 200)";
    Machine::run(&["python3"], |machine| {
        let user = machine.user();
        let forward = format!("{MACHINE_V4}:8080:80");
        let keeper = user.run(&["--name", "web", "--direct", "-p", &forward], &["sleep", "200"]);
        Api::USER.host("web");
        let watch = watch(&user, "web", &["web", "--json"]);
        let server = user.exec("web", &["python3", "-c", SERVER]);
        let client = machine.outside(|| {
            let mut client = wait_for("the service", SOON, || net::connect(&format!("{MACHINE_V4}:8080")).ok());
            client.write_all(&[0; 1000]).expect("to send");
            client.read_exact(&mut [0; 100]).expect("an answer");
            client
        });
        // What the client has is not yet acknowledged to us.
        let all = |flow: &Flow| (flow.bytes_in, flow.bytes_out) == (Some(1000), Some(100));
        let flow = wait_for("the bytes", SOON, || through(true).filter(all));
        assert_eq!(
            (flow.client.address.to_string(), flow.client.port),
            (OUTSIDE_V4.into(), client.local_addr().unwrap().port())
        );
        assert_eq!((flow.server.host.as_deref(), flow.server.port), (Some("web"), 80));
        assert_eq!(flow.server.process.as_ref().map(|process| process.name.as_str()), Some("python3"), "{flow:?}");
        let forwards: Vec<Forward> = Api::USER.get("/v1/forwards").expect("forwards");
        assert_eq!(flow.forward, Some(forwards[0].id));
        assert_eq!((forwards[0].connections, forwards[0].bytes_in), (1, 0));
        assert!(through(false).is_none());
        let shown = user.minato_finish(&["flows"]).expect_success().stdout;
        assert!(shown.contains(OUTSIDE_V4) && shown.contains("direct"), "{shown}");
        wait_until("word of it", SOON, || watch.stdout().contains("direct-1"));
        // It goes on without its forward, and ends with its program.
        user.minato_finish(&["forward", "rm", "-p", &forward, "web"]).expect_success();
        assert!(through(true).is_some());
        server.stop();
        wait_until("its end", SOON, || through(true).is_none());
        drop(client);
        keeper.stop();
        let events: Vec<Event> = watch.finish().expect_success().stdout.lines().map(crate::direct::event).collect();
        let of = |flow: &Flow| flow.direct && flow.client.address.to_string() == OUTSIDE_V4;
        let started = |event: &&Event| matches!(&event.what, Happening::FlowStarted { flow, .. } if of(flow));
        let ended = |event: &&Event| matches!(&event.what, Happening::FlowEnded { flow, .. } if of(flow));
        assert_eq!((events.iter().filter(started).count(), events.iter().filter(ended).count()), (1, 1), "{events:#?}");
    });
}

/// A socket of the machine is no way around its host's policy, whatever the program does with it: no filter can be taken off
/// that lets in the client alone.
#[test]
fn a_connection_of_a_host_with_a_policy_is_locked_to_its_client() {
    /// Tells each client its own address, and whether the connection is locked (`SO_LOCK_FILTER`).
    const SERVER: &str = "import select, socket
s = socket.create_server(('', 80))
while True:
    select.select([s], [], [])
    c, _ = s.accept()
    c.sendall(f'{c.getsockname()[0]} {c.getsockopt(socket.SOL_SOCKET, 44)}'.encode())
    c.close()";
    Machine::run(&["python3"], |machine| {
        let (root, forward) = (machine.root(), format!("{MACHINE_V4}:8080:80"));
        for (policy, locked) in [(&["--allow", OUTSIDE_V4][..], 1), (&[], 0)] {
            let flags = [&["--name", "web", "--direct", "-p", &forward], policy].concat();
            let web = root.run(&flags, &["python3", "-c", SERVER]);
            let told = || machine.outside(|| net::read_from(&format!("{MACHINE_V4}:8080")));
            // One that is not handed over comes to an address of the host.
            let direct = wait_for("a direct connection", SOON, || told().filter(|told| told.starts_with(MACHINE_V4)));
            assert_eq!(direct, format!("{MACHINE_V4} {locked}"), "{policy:?}");
            web.stop();
            wait_until("the engine's end", SOON, || machine.engines().is_empty());
        }
    });
}
