//! Forwards by the thousand: fast, small, all or none, and never in each other's way.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use crate::machine::{Machine, SOON, wait_until};
use crate::support::api::Api;
use crate::support::net;

/// What an unoptimised program may take longer.
const SLACK: u32 = if cfg!(debug_assertions) { 6 } else { 1 };
const RANGE: &str = "127.0.0.1:20000-34999:20000-34999";

#[test]
fn fifteen_thousand_forwards_are_added_at_once_and_cost_little() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let run = user.run(&["--name", "many"], &machine.peer("who 20000"));
        wait_until("the service", SOON, || Api::USER.port("many", 20000).is_some());
        let [engine] = machine.engines().try_into().unwrap_or_else(|_| panic!("not one engine"));
        let before = engine.resident_kib();

        let ticks = engine.ticks();
        user.minato_finish(&["forward", "add", "-p", RANGE, "many"]).expect_success();
        let added = engine.ticks() - ticks;
        let bytes = engine.resident_kib().saturating_sub(before) * 1024 / 15_000;
        assert!(net::read_from("127.0.0.1:20000").is_some(), "the first leads to the service");
        assert!(net::is_refused("127.0.0.1:34999"));
        assert!(TcpListener::bind("127.0.0.1:34999").is_err(), "the last is not held");

        // While 14,999 wait for their services, the engine looks for these often, and then rarely.
        let ticks = engine.ticks();
        thread::sleep(Duration::from_secs(3));
        let idle = engine.ticks() - ticks;
        eprintln!("15,000 forwards: added in {added} ticks of 10 ms, {bytes} bytes each, {idle} ticks in 3 s");
        assert!(added < 50 * u64::from(SLACK), "added in {added} ticks of 10 ms");
        assert!(bytes < 4096, "{bytes} bytes each");
        assert!(idle < 30 * u64::from(SLACK), "{idle} ticks of 10 ms in 3 s");

        let conflict = user.minato_finish(&["forward", "add", "-p", "127.0.0.1:19990-20009:80-99", "many"]);
        conflict.expect_code(16).expect_stderr(&[
            "127.0.0.1:20000/tcp",
            "many",
            "forward rm -p 127.0.0.1:20000:20000 many",
            "next free port is 35000",
        ]);
        assert!(TcpListener::bind("127.0.0.1:19990").is_ok(), "a part of what was refused is held");
        let too_many = user.minato_finish(&["forward", "add", "-p", "127.0.0.2:1025-65535:1025-65535", "many"]);
        too_many.expect_code(14).expect_stderr(&["limit of open files", "ulimit -Hn"]);
        user.minato_finish(&["forward", "rm", "-p", "all", "many"]).expect_success();
        assert!(TcpListener::bind("127.0.0.1:34999").is_ok(), "still held");
        run.stop();
    });
}

#[test]
fn thousands_of_changes_touch_no_other_forward() {
    const CHANGES: u32 = 10_000;
    Machine::run(&[], |machine| {
        let user = machine.user();
        let run = user.run(&["--name", "web", "-p", "8080:80"], &machine.peer("line 80"));
        let talk = || -> std::io::Result<String> {
            let mut stream = net::connect("127.0.0.1:8080")?;
            writeln!(stream, "hello")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        wait_until("the service", SOON, || talk().is_ok());
        // A connection that lasts, and many short ones.
        let echo = user.exec("web", &machine.peer("count 81"));
        wait_until("the other service", SOON, || Api::USER.port("web", 81).is_some());
        user.minato_finish(&["forward", "add", "-p", "8081:81", "web"]).expect_success();
        wait_until("its forward", SOON, || net::connect("127.0.0.1:8081").is_ok());
        let mut lasting = net::connect("127.0.0.1:8081").expect("to connect");

        let spec = r#"{"address":"127.0.0.1","host_ports":[9000,9000],"service_ports":[80,80],"transport":"tcp"}"#;
        let body = format!(r#"{{"host":"web","forwards":[{spec}]}}"#);
        let changes = thread::spawn(move || {
            for _ in 0..CHANGES {
                assert_eq!(Api::USER.send("POST", "/v1/forwards", &body), 200);
                assert_eq!(Api::USER.send("DELETE", "/v1/forwards", &body), 200);
            }
        });
        let (mut short, mut sent) = (0_u32, 0_u64);
        while !changes.is_finished() {
            assert_eq!(talk().expect("a short connection"), "hello\n", "after {short}");
            lasting.write_all(&[7; 1000]).expect("the lasting connection");
            (short, sent) = (short + 1, sent + 1000);
        }
        changes.join().expect("the changes");
        lasting.shutdown(std::net::Shutdown::Write).expect("to end this direction");
        let mut answer = String::new();
        lasting.read_to_string(&mut answer).expect("an answer");
        assert_eq!(answer, format!("{sent} bytes\n"));
        eprintln!("{CHANGES} times added and removed beside {short} short connections");
        echo.stop();
        run.stop();
    });
}
