//! `minato run --direct`: connections to the outside over sockets of the machine, in the program's own hands.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use minato_inspect::{Event, Flow, FlowState, Happening};
use rustix::process::{Pid, Signal, kill_process};

use crate::machine::{
    Account, MACHINE_V4, MACHINE_V6, Machine, OUTSIDE_SECOND_V4, OUTSIDE_V4, OUTSIDE_V6, Program, SOON, wait_for,
    wait_until,
};
use crate::support::api::Api;
use crate::support::names::NameServer;
use crate::support::watching::watch;
use crate::support::world::world;
use crate::support::{net, peer};

const CLIENTS: &str = include_str!("direct/clients.py");
const RACE: &str = include_str!("direct/race.py");
/// Sends a while, and then only holds its connection.
const HOLDER: &str = "import socket, sys, time
s = socket.create_connection((sys.argv[1], 7000))
s.sendall(bytes(100000))
time.sleep(200)";

#[test]
fn clients_of_every_kind_work_as_ever() {
    Machine::run(&["python3", "setpriv"], |machine| {
        world(machine);
        let accounts = [machine.user(), machine.root()];
        let ways = accounts.iter().flat_map(|account| [(account, false), (account, true)]);
        for ((account, is_confined), round) in ways.zip(["0", "1", "2", "3"]) {
            let python = ["python3", "-c", CLIENTS, OUTSIDE_V4, OUTSIDE_V6, MACHINE_V4, MACHINE_V6, round];
            let confined = [&["setpriv", "--no-new-privs"], &python[..]].concat();
            let (flags, command) = if is_confined {
                (&["--direct", "--map-root"][..], &confined[..])
            } else {
                (&["--direct"][..], &python[..])
            };
            let finished = account.run(flags, command).finish().expect_success();
            let parts = "plain_clients\noptions\nfailures\nevents\nothers\n";
            assert_eq!(finished.stdout, parts, "{}", finished.stderr);
            assert_eq!(finished.stderr, "");
        }
    });
}

#[test]
fn real_programs_get_through() {
    Machine::run(&["curl", "nginx"], |machine| {
        world(machine);
        let user = machine.user();
        for address in [OUTSIDE_V4.to_owned(), format!("[{OUTSIDE_V6}]")] {
            let url = format!("http://{address}:8000/");
            let curl = ["curl", "--silent", "--max-time", "10", "--write-out", " %{local_ip}", &url];
            let told = user.run(&["--direct"], &curl).finish().expect_success().stdout;
            let own = if address.contains(':') { MACHINE_V6 } else { MACHINE_V4 };
            assert_eq!(told, format!("hello {own}"));
        }
        // nginx has its sockets watched before it connects them.
        let configuration = machine.work().join("upstream.conf");
        let text = format!(
            "daemon off; master_process off; pid /run/work/upstream.pid; events {{}} http {{ access_log off;
             client_body_temp_path /run/work/u1; proxy_temp_path /run/work/u2; fastcgi_temp_path /run/work/u3;
             uwsgi_temp_path /run/work/u4; scgi_temp_path /run/work/u5;
             server {{ listen 80; location / {{ proxy_pass http://{OUTSIDE_V4}:8000; }} }} }}"
        );
        std::fs::write(&configuration, text).expect("a file");
        let nginx = ["nginx", "-e", "/dev/null", "-c", "/run/work/upstream.conf"];
        let web = user.run(&["--name", "web", "-p", "8080:80", "--direct"], &nginx);
        assert!(Api::USER.host("web").direct);
        let page = wait_for("a page", SOON, || net::http_get("127.0.0.1:8080", "/"));
        assert!(page.ends_with("hello"), "{page}");
        web.stop();
        user.minato_finish(&["run", "--direct", "--no-bind-watch", "--", "true"]).expect_code(2);
    });
}

#[test]
fn services_of_a_file_are_direct_one_by_one_and_no_capture_has_them() {
    Machine::run(&["python3"], |machine| {
        world(machine);
        let user = machine.user();
        let client = format!(
            "import socket, time; s = socket.create_connection(('{OUTSIDE_V4}', 8000)); print(s.getsockname()[0], flush=True)\n\
             time.sleep(200)"
        );
        let command = format!("command = ['python3', '-c', \"\"\"{client}\"\"\"]\n");
        let text = format!("[host.a.service.one]\n{command}direct = true\n[host.a.service.two]\n{command}");
        std::fs::write(machine.work().join("minato.toml"), text).expect("a file");
        user.minato_finish(&["check"]).expect_success();
        let up = user.start(user.minato(&["up", "--network", "default"]));
        wait_until("both addresses", SOON, || {
            let shown = up.stdout();
            let of =
                |name: &str, address: &str| shown.lines().any(|line| line.contains(name) && line.contains(address));
            of("one", MACHINE_V4) && of("two", "10.77.")
        });
        assert!(Api::USER.host("a").direct);
        let capture = user.start(user.minato(&["capture", "a"]));
        wait_until("a word about it", SOON, || capture.stderr().contains("a is direct: TCP connections"));
        capture.stop();
        up.stop();
    });
}

/// The direct flow to port 7000 of the outside, if there is one.
fn held(state: Option<FlowState>) -> Option<Flow> {
    let flows: Vec<Flow> = Api::USER.get("/v1/flows")?;
    let mut direct = flows.into_iter().filter(|flow| flow.direct && flow.server.port == 7000);
    direct.find(|flow| state.is_none_or(|state| flow.state == state))
}

/// Whether the machine has a TCP connection to port 7000 that is established.
fn machine_has_one() -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the machine's sockets");
    table.lines().any(|line| line.contains(":1B58 01"))
}

/// Kills whatever holds a connection with [`HOLDER`].
fn kill_holder(machine: &Machine) {
    for holder in machine.processes_with_argument(HOLDER).iter().filter(|process| process.name == "python3") {
        let pid = i32::try_from(holder.pid).ok().and_then(Pid::from_raw).expect("a process ID");
        kill_process(pid, Signal::KILL).expect("to kill it");
    }
}

#[test]
fn each_connection_is_accounted_for_until_it_is_gone() {
    Machine::run(&["python3"], |machine| {
        machine.outside_thread(|| peer::count("[::]:7000"));
        let user = machine.user();
        let keeper = user.run(&["--name", "client", "--direct"], &["sleep", "200"]);
        Api::USER.host("client");
        let watch = watch(&user, "client", &["client", "--json"]);
        let holder = user.exec("client", &["python3", "-c", HOLDER, OUTSIDE_V4]);
        let measured = |flow: &Flow| flow.bytes_in == Some(100_000) && flow.rtt_micros.is_some();
        let flow = wait_for("the bytes", SOON, || held(None).filter(measured));
        assert_eq!(flow.client.host.as_deref(), Some("client"));
        assert_eq!(
            (flow.client.address.to_string(), flow.server.address.to_string()),
            (MACHINE_V4.into(), OUTSIDE_V4.into())
        );
        assert_eq!(flow.client.process.as_ref().map(|process| process.name.as_str()), Some("python3"), "{flow:?}");
        assert!(flow.state == FlowState::Established && flow.rtt_micros.is_some_and(|time| time > 0), "{flow:?}");
        assert!(machine_has_one());
        let shown = user.minato_finish(&["flows"]).expect_success().stdout;
        assert!(shown.contains(&format!("{OUTSIDE_V4}:7000 direct")), "{shown}");

        // Sockets are looked at every 50 ms: one that ends sooner need not be told.
        wait_until("word of it", SOON, || watch.stdout().contains("direct-1"));
        kill_holder(machine);
        holder.finish();
        wait_until("its end", SOON, || held(Some(FlowState::Established)).is_none() && !machine_has_one());
        // The end of the host, and of the engine, leaves nothing either.
        let second = user.exec("client", &["python3", "-c", HOLDER, OUTSIDE_V4]);
        wait_until("word of another one", SOON, || watch.stdout().contains("direct-2"));
        keeper.stop();
        second.stop();
        wait_until("its end", SOON, || !machine_has_one());
        let events: Vec<Event> = watch.finish().expect_success().stdout.lines().map(event).collect();
        let started =
            events.iter().filter(|event| matches!(&event.what, Happening::FlowStarted { flow, .. } if flow.direct));
        let ended = events.iter().filter_map(|event| match &event.what {
            Happening::FlowEnded { flow, .. } if flow.direct => Some(flow),
            _ => None,
        });
        let ended: Vec<_> = ended.collect();
        assert_eq!((started.count(), ended.len()), (2, 2), "{events:#?}");
        assert_eq!(ended[0].bytes_in, Some(100_000));
        assert_eq!(ended[0].client.process.as_ref().map(|process| process.name.as_str()), Some("python3"));
    });
}

pub(crate) fn event(line: &str) -> Event {
    let mut value: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
    serde_json::from_value(value["event"].take()).expect("an event")
}

#[test]
fn nothing_outlives_an_engine_that_is_killed() {
    Machine::run(&["python3"], |machine| {
        machine.outside_thread(|| peer::count("[::]:7000"));
        let holder = machine.user().run(&["--direct"], &["python3", "-c", HOLDER, OUTSIDE_V4]);
        wait_until("a connection", SOON, machine_has_one);
        let engine = machine.engines().remove(0);
        let pid = i32::try_from(engine.pid).ok().and_then(Pid::from_raw).expect("a process ID");
        kill_process(pid, Signal::KILL).expect("to kill it");
        holder.finish();
        wait_until("its end", SOON, || !machine_has_one());
    });
}

fn client<'m>(account: &Account<'m>, flags: &[&str]) -> Program {
    account.run(&[&["--name", "client", "--direct"], flags].concat(), &["sleep", "200"])
}

/// Counts the connections to an address outside.
fn counted(machine: &Machine, address: &'static str) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&count);
    let listener = machine.outside(move || TcpListener::bind(address).expect("a port"));
    thread::spawn(move || {
        for _ in listener.incoming() {
            counting.fetch_add(1, Ordering::Relaxed);
        }
    });
    count
}

#[test]
fn policies_hold_for_direct_connections() {
    Machine::run(&["python3"], |machine| {
        world(machine);
        NameServer::start(machine, &[&format!("good.test 60 {OUTSIDE_V4}")]);
        let [allowed, denied] = ["198.51.100.2:8002", "198.51.100.3:8002"].map(|address| counted(machine, address));
        let root = machine.root();
        let host = client(&root, &["--allow", "good.test:8000", "--allow", "198.51.100.2:8002"]);
        Api::ROOT.host("client");
        let connect = |address: &str, port: u16| {
            let script = format!(
                "import socket\ntry: print(socket.create_connection(('{address}', {port}), 10).getsockname()[0])\n\
                 except OSError as error: print(error.strerror)"
            );
            root.exec("client", &["python3", "-c", &script]).finish().expect_success().stdout
        };
        assert_eq!(connect(OUTSIDE_V4, 8000), "Connection refused\n", "nobody has asked for its name yet");
        assert_eq!(connect("good.test", 8000), format!("{MACHINE_V4}\n"));
        assert_eq!(connect(OUTSIDE_V4, 8000), format!("{MACHINE_V4}\n"));
        assert_eq!(connect(OUTSIDE_V4, 8001), "Connection refused\n");
        assert_eq!(connect(OUTSIDE_SECOND_V4, 8000), "Connection refused\n");
        assert_eq!(connect(OUTSIDE_V6, 8000), "Connection refused\n");
        let race = root.exec("client", &["python3", "-c", RACE, OUTSIDE_V4, OUTSIDE_SECOND_V4]);
        assert_eq!(race.finish().expect_success().stdout, "True 0\n");
        assert!(allowed.load(Ordering::Relaxed) > 0);
        assert_eq!(denied.load(Ordering::Relaxed), 0);
        host.stop();

        // Where the kernel lets no ordinary user lock a socket, the connections are not direct, and are refused as ever.
        let user = machine.user();
        let host = client(&user, &["--allow", "198.51.100.2:8000"]);
        Api::USER.host("client");
        let outcome = |address: &str| {
            user.exec("client", &machine.peer(&format!("connect {address}"))).finish().expect_success().stderr
        };
        assert!(outcome("198.51.100.2:8000").contains("connected"));
        assert!(outcome("198.51.100.3:8000").contains("ConnectionRefused"));
        let told = host.stop().stderr;
        assert!(told.is_empty() || told.contains("no connection of host \"client\" is direct: its policy"), "{told}");
    });
}
