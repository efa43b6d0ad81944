//! What the engine costs: system calls for each byte, connection and datagram, memory for each flow, and nothing while
//! nobody wants anything. Counted, never timed, so that a busy machine changes nothing.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::machine::{MACHINE_V4, Machine, OUTSIDE_V4, Process, SOON, wait_for, wait_until};
use crate::support::api::Api;
use crate::support::{net, peer};

const MIB: u64 = 1 << 20;

#[test]
fn bulk_takes_few_system_calls_for_each_mebibyte() {
    const BYTES: u64 = 192 * MIB;
    Machine::run(&["strace"], |machine| {
        let user = machine.user();
        let service = user.run(&["--name", "sink", "-p", "0.0.0.0:8080:80"], &machine.peer("count 80"));
        let inward = format!("{MACHINE_V4}:8080");
        wait_until("the service", SOON, || net::connect(&inward).is_ok());
        let engine = engine(machine);
        let expected = format!("{BYTES} bytes\n");
        let calls = system_calls(machine, &engine, || {
            assert_eq!(peer::half_close(TcpStream::connect(&inward).expect("to connect"), BYTES), expected);
        });
        assert_few("inward", calls.useful(), BYTES / MIB, 24);

        let outward = format!("{MACHINE_V4}:9000");
        thread::spawn(|| peer::count(&format!("{MACHINE_V4}:9000")));
        let calls = system_calls(machine, &engine, || {
            let upload = user.run(&["--name", "source"], &machine.peer(&format!("upload {outward} {BYTES}")));
            assert!(upload.finish_within(Duration::from_secs(60)).expect_success().stderr.contains(&expected));
        });
        // A frame of the TAP device is 64 KiB at most: 16 reads, and what they bring has to be written.
        assert_few("outward", calls.useful(), BYTES / MIB, 64);
        service.stop();
    });
}

#[test]
fn short_connections_and_datagrams_take_few_system_calls() {
    const COUNT: u64 = 300;
    Machine::run(&["strace"], |machine| {
        let user = machine.user();
        let forwards = ["--name", "web", "-p", "0.0.0.0:8080:80", "-p", "0.0.0.0:8081:81/udp"];
        let service = user.run(&forwards, &machine.peer("line 80"));
        Api::USER.host("web");
        let datagrams = user.exec("web", &machine.peer("who 81"));
        let inward = format!("{MACHINE_V4}:8080");
        wait_until("the service", SOON, || one_line(&inward));
        let socket = UdpSocket::bind((MACHINE_V4, 0)).expect("to bind");
        socket.connect((MACHINE_V4, 8081)).expect("to connect");
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a time limit");
        let ask = || socket.send(b"who").is_ok() && socket.recv(&mut [0; 100]).is_ok();
        wait_until("the UDP service", SOON, ask);
        let engine = engine(machine);

        let calls = system_calls(machine, &engine, || assert!((0..COUNT).all(|_| one_line(&inward))));
        assert_few("a connection through a forward", calls.useful(), COUNT, 32);
        let calls = system_calls(machine, &engine, || assert!((0..COUNT).all(|_| ask())));
        assert_few("a datagram through a forward and its answer", calls.useful(), COUNT, 12);

        let outward = format!("{MACHINE_V4}:9000");
        let address = outward.clone();
        thread::spawn(move || peer::line(&address));
        wait_until("the outer service", SOON, || one_line(&outward));
        let calls = system_calls(machine, &engine, || {
            let client = user.exec("web", &machine.peer(&format!("lines {outward} {COUNT}")));
            client.finish_within(Duration::from_secs(60)).expect_success();
        });
        assert_few("a connection to the outside", calls.useful(), COUNT, 40);

        let keeper = user.run(&["--name", "direct", "--direct"], &["sleep", "100"]);
        Api::USER.host("direct");
        let calls = system_calls(machine, &engine, || {
            let client = user.exec("direct", &machine.peer(&format!("lines {outward} {COUNT}")));
            client.finish_within(Duration::from_secs(60)).expect_success();
        });
        assert_few("a direct connection", calls.useful(), COUNT, 48);
        keeper.stop();
        datagrams.stop();
        service.stop();
    });
}

/// However many there are: each is told of by itself, and its forward is open when the program goes on.
#[test]
fn listeners_take_few_system_calls_each() {
    const COUNT: u64 = 2000;
    Machine::run(&["strace"], |machine| {
        let user = machine.user();
        let forwards = format!("0.0.0.0:10000-{0}:10000-{0}", 9999 + COUNT);
        let keeper = user.run(&["--name", "many", "--no-loopback", "-p", &forwards], &["sleep", "100"]);
        Api::USER.host("many");
        let engine = engine(machine);
        let calls = system_calls(machine, &engine, || {
            let service = user.exec("many", &machine.peer(&format!("listen 10000 {COUNT}")));
            let told = service.finish_within(Duration::from_secs(60)).expect_success().stderr;
            assert_eq!(told, format!("{COUNT} listeners\n"));
        });
        assert_few("a listener", calls.useful(), COUNT, 120);
        // Four ask for all that listen.
        let questions = calls.of("sendto");
        assert!(questions <= 2 * COUNT, "{questions} questions about {COUNT} listeners");
        keeper.stop();
    });
}

/// Of those that arrive: while each of its system calls is counted the engine is slow, and both kernels drop what comes too
/// fast.
#[test]
fn bulk_datagrams_take_few_system_calls() {
    const COUNT: usize = 20_000;
    Machine::run(&["strace"], |machine| {
        let user = machine.user();
        let keeper = user.run(&["--name", "sink", "-p", "0.0.0.0:8080:80/udp"], &["sleep", "100"]);
        Api::USER.host("sink");
        let engine = engine(machine);

        let inward = format!("{MACHINE_V4}:8080");
        let service = user.exec("sink", &machine.peer("tally 0.0.0.0:80"));
        let calls = system_calls(machine, &engine, || peer::spray(&inward, COUNT));
        let told = service.finish().expect_success().stderr;
        let arrived = told.split_once(' ').and_then(|(count, _)| count.parse().ok()).expect("a number");
        assert_few("1,000 datagrams through a forward", calls.useful() * 1000, arrived, 400);

        let outward = format!("{MACHINE_V4}:9000");
        let counting = thread::spawn(move || peer::tally(&format!("{MACHINE_V4}:9000")));
        let calls = system_calls(machine, &engine, || {
            let source = user.exec("sink", &machine.peer(&format!("spray {outward} {COUNT}")));
            source.finish_within(Duration::from_secs(60)).expect_success();
        });
        // Each takes a read from the TAP device.
        assert_few("1,000 datagrams to the outside", calls.useful() * 1000, counting.join().expect("a count"), 1500);
        keeper.stop();
    });
}

#[test]
fn an_idle_engine_takes_no_processor_time_and_gives_memory_back() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let service = user.run(&["--name", "sink", "-p", "0.0.0.0:8080:80"], &machine.peer("count 80"));
        let address = format!("{MACHINE_V4}:8080");
        wait_until("the service", SOON, || net::connect(&address).is_ok());
        let engine = engine(machine);
        let fresh = engine.resident_kib();
        assert!(fresh <= RESIDENT_KIB, "{fresh} KiB resident after the start");
        assert_idle(&engine);

        thread::spawn(|| peer::count(&format!("{MACHINE_V4}:9000")));
        let upload = machine.peer(&format!("upload {MACHINE_V4}:9000 {}", 64 * MIB));
        let uploads: Vec<_> = (0..8).map(|_| user.exec("sink", &upload)).collect();
        for _ in 0..8 {
            peer::half_close(TcpStream::connect(&address).expect("to connect"), 64 * MIB);
        }
        for upload in uploads {
            upload.finish_within(Duration::from_secs(60)).expect_success();
        }
        let most = engine.peak_kib();
        let after = wait_for("the engine's memory to come back", SOON, || {
            let now = engine.resident_kib();
            (now <= fresh + 6 * 1024).then_some(now)
        });
        eprintln!("{fresh} KiB fresh, {most} at most, {after} after the load");
        assert_idle(&engine);
        service.stop();
    });
}

/// The engine's own memory; the kernel's for sockets comes to that.
#[test]
fn idle_flows_take_little_memory() {
    const FLOWS: u64 = 4000;
    Machine::run(&[], |machine| {
        let user = machine.user();
        let listener = TcpListener::bind((MACHINE_V4, 9000)).expect("to listen");
        peer::raise_file_limit();
        thread::spawn(move || listener.incoming().flatten().for_each(std::mem::forget));
        let keeper = user.run(&["--name", "keeper"], &["sleep", "100"]);
        Api::USER.host("keeper");
        let warm_up = user.exec("keeper", &machine.peer(&format!("hold {MACHINE_V4}:9000 100")));
        wait_until("the first connections", SOON, || warm_up.stderr().contains("held"));
        let engine = engine(machine);
        let before = engine.resident_kib();
        let many = user.exec("keeper", &machine.peer(&format!("hold {MACHINE_V4}:9000 {FLOWS}")));
        wait_until("all connections", Duration::from_secs(60), || many.stderr().contains("held"));
        let each = engine.resident_kib().saturating_sub(before) * 1024 / FLOWS;
        eprintln!("{each} bytes for each idle flow");
        assert!(each <= 2048, "{each} bytes for each idle flow");
        many.stop();
        warm_up.stop();
        keeper.stop();
    });
}

/// Each ping to another destination, or by another program, has a descriptor of the engine for a minute.
#[test]
fn who_pings_without_end_leaves_descriptors_to_others() {
    const PINGS: &str = "
import socket, sys
for number in range(3000):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as one:
        one.sendto(b'\\x08' + bytes(15), (sys.argv[1], 0))
print('all sent')
";
    Machine::run(&["prlimit", "python3"], |machine| {
        machine.outside(|| thread::spawn(|| peer::count(&format!("{OUTSIDE_V4}:7000"))));
        let user = machine.user();
        let mut command = user.command("prlimit");
        command.args(["--nofile=1200:1200", "/run/bin/minato", "run", "--name", "busy", "--", "sleep", "100"]);
        let busy = user.start(&mut command);
        Api::USER.host("busy");
        let other = user.run(&["--name", "other"], &["sleep", "100"]);
        Api::USER.host("other");
        let pings = user.exec("busy", &["python3", "-c", PINGS, OUTSIDE_V4]).finish().expect_success();
        assert_eq!(pings.stdout, "all sent\n");
        let [engine] = machine.engines().try_into().unwrap_or_else(|_| panic!("not one engine"));
        let descriptors = engine.descriptors();
        assert!((150..500).contains(&descriptors), "{descriptors} of 1200, of which a host may have a quarter");
        let script = format!("exec 3<>/dev/tcp/{OUTSIDE_V4}/7000 && echo through");
        let through = user.exec("other", &["bash", "-c", &script]).finish().expect_success();
        assert_eq!(through.stdout, "through\n");
        other.stop();
        busy.stop();
    });
}

#[test]
fn past_the_limit_of_open_files_new_connections_are_refused_and_the_old_ones_go_on() {
    const LIMIT: &str = "--nofile=1200:1200";
    const OLD: usize = 100;
    const ALL: usize = 800;
    Machine::run(&["prlimit"], |machine| {
        let user = machine.user();
        peer::raise_file_limit();
        let mut command = user.command("prlimit");
        command.args([LIMIT, "/run/bin/minato", "run", "--name", "few", "-p", "0.0.0.0:8080:80", "--"]);
        let service = user.start(command.args(machine.peer("count 80")));
        let address = format!("{MACHINE_V4}:8080");
        wait_until("the service", SOON, || net::connect(&address).is_ok());
        let mut old: Vec<TcpStream> = (0..OLD).map(|_| net::connect(&address).expect("to connect")).collect();
        for stream in &mut old {
            stream.write_all(b"first").expect("to send");
        }
        let new: Vec<_> = (0..ALL).filter_map(|_| net::connect(&address).ok()).collect();
        let refused = wait_for("some of them to be refused", SOON, || {
            let refused = new.iter().filter(|stream| is_dead(stream)).count();
            (refused > 0).then_some(refused)
        });
        assert!(refused < new.len(), "not one more");
        for mut stream in old {
            stream.write_all(b" second").expect("to send");
            stream.shutdown(Shutdown::Write).expect("to end this direction");
            assert_eq!(peer::read_all(stream), "12 bytes\n");
        }
        drop(new);
        wait_until("room again", SOON, || {
            net::connect(&address).is_ok_and(|stream| peer::half_close(stream, 7) == "7 bytes\n")
        });
        service.stop();
    });
}

/// Resident memory that an engine may have when it has started. An unoptimised program is larger.
const RESIDENT_KIB: u64 = if cfg!(debug_assertions) { 24 << 10 } else { 15 << 10 };

fn engine(machine: &Machine) -> Process {
    let [engine] = machine.engines().try_into().unwrap_or_else(|_| panic!("not one engine"));
    engine
}

fn assert_idle(engine: &Process) {
    // What was wanted last may still end.
    wait_until("an engine that does nothing", SOON, || {
        let before = engine.ticks();
        thread::sleep(Duration::from_secs(2));
        engine.ticks() - before <= 1
    });
}

fn assert_few(what: &str, calls: u64, units: u64, most: u64) {
    eprintln!("{what}: {:.1} system calls", calls as f64 / units as f64);
    assert!(calls <= most * units, "{what}: {calls} system calls for {units}, more than {most} each");
    assert!(calls >= units, "{what}: {calls} system calls for {units}: nothing was counted");
}

/// What `strace -c` counted, by name.
struct Calls(Vec<(String, u64)>);

impl Calls {
    /// Those that did something: a look for events before sleeping is two calls, one of which yields the processor.
    fn useful(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum::<u64>() - 2 * self.of("sched_yield")
    }

    fn of(&self, name: &str) -> u64 {
        self.0.iter().filter(|(of, _)| of == name).map(|(_, count)| count).sum()
    }
}

/// The system calls of all of the engine's threads during `work`.
fn system_calls(machine: &Machine, engine: &Process, work: impl FnOnce()) -> Calls {
    let table = machine.work().join("strace");
    let mut command = machine.root().command("strace");
    command.args(["-f", "-c", "-o"]).arg(&table).args(["-p", &engine.pid.to_string()]);
    let trace = machine.root().start(&mut command);
    let threads = fs::read_dir(format!("/proc/{}/task", engine.pid)).expect("threads").flatten();
    for thread in threads {
        let status = thread.path().join("status");
        wait_until("strace", SOON, || {
            let text = fs::read_to_string(&status).unwrap_or_default();
            text.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|pid| pid.trim() != "0"))
        });
    }
    work();
    trace.signal(Signal::INT);
    trace.finish();
    let text = fs::read_to_string(&table).expect("strace's table");
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let name = words.last().filter(|name| **name != "total")?;
        // Percentage, seconds, microseconds, calls, perhaps errors, name.
        words.first()?.parse::<f64>().ok()?;
        Some(((*name).to_owned(), words.get(3)?.parse().ok()?))
    };
    Calls(text.lines().filter_map(row).collect())
}

/// Sends a line, and gets it back and the end.
fn one_line(address: &str) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = net::connect(address)?;
        writeln!(stream, "hello")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer == "hello\n")
    };
    ask().unwrap_or(false)
}

/// Whether the connection was reset or ended, within a moment.
fn is_dead(mut stream: &TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(2))).expect("a time limit");
    match stream.read(&mut [0]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}
