//! Many connections: nothing lost, nothing leaked.

use std::fs;
use std::io::{Read, Write};
use std::time::Duration;

use crate::machine::{MACHINE_V4, Machine, OUTSIDE_V4, SOON, wait_for, wait_until};
use crate::support::{net, servers};

#[test]
fn two_hundred_parallel_downloads_are_equal() {
    const DOWNLOADS: usize = 200;
    Machine::run(&["nginx", "curl", "sha256sum"], |machine| {
        let nginx = servers::nginx(machine, 8000, "page");
        let data = machine.work().join("nginx-8000/site/data");
        let mut random = fs::File::open("/dev/urandom").expect("random data").take(10 << 20);
        std::io::copy(&mut random, &mut fs::File::create(&data).expect("a file")).expect("10 MiB");
        let server = machine.root().start(machine.outside_command(&nginx.command));
        wait_until("nginx outside", SOON, || net::http_get(&format!("{OUTSIDE_V4}:8000"), "/").is_some());

        let script = format!(
            "mkdir copies && curl --silent --show-error --fail --parallel --parallel-immediate --parallel-max {DOWNLOADS} \
             'http://{OUTSIDE_V4}:8000/data?[1-{DOWNLOADS}]' -o 'copies/#1' && sha256sum copies/*"
        );
        let run = machine.user().run(&["--name", "loader"], &["sh", "-c", &script]);
        let sums = run.finish_within(Duration::from_secs(120)).expect_success().stdout;
        let expected = machine.user().finish("sha256sum", &[data.to_str().expect("UTF-8")]).expect_success().stdout;
        let expected = expected.split(' ').next().expect("a sum");
        let equal = sums.lines().filter(|line| line.starts_with(expected)).count();
        assert_eq!(equal, DOWNLOADS, "{equal} of {DOWNLOADS} copies are intact");
        server.stop();
    });
}

#[test]
fn fifty_thousand_short_connections_lose_and_leak_nothing() {
    const CLIENTS: u32 = 4;
    const WARM_UP: u32 = 500;
    const CONNECTIONS: u32 = 12_500;
    Machine::run(&[], |machine| {
        let run = machine.user().run(&["--name", "short", "-p", "0.0.0.0:8080:80"], &machine.peer("line 80"));
        let address = format!("{MACHINE_V4}:8080");
        wait_until("the service", SOON, || ask_line(&address, "ready").is_ok());
        let all = |count| {
            let clients: Vec<_> =
                (0..CLIENTS).map(|client| machine.outside_thread(move || short_connections(client, count))).collect();
            clients.into_iter().flat_map(|client| client.join().expect("a client")).collect::<Vec<_>>()
        };

        assert_eq!(all(WARM_UP), Vec::<String>::new());
        let [engine] = machine.engines().try_into().unwrap_or_else(|_| panic!("not one engine"));
        wait_until("the warm-up to be over", SOON, || engine.descriptors() < 200);
        let (descriptors, resident) = (engine.descriptors(), engine.resident_kib());

        assert_eq!(all(CONNECTIONS), Vec::<String>::new());
        // The last connections still close. A few descriptors belong to pools, which may be filled differently.
        let after = wait_for("the engine's resources to come back", SOON, || {
            let now = (engine.descriptors(), engine.resident_kib());
            (now.0 <= descriptors + 4 && now.1 * 10 <= resident * 11).then_some(now)
        });
        eprintln!("descriptors {descriptors} → {}, resident {resident} → {} KiB", after.0, after.1);
        run.stop();
    });
}

/// One connection after the other from outside; the failures.
fn short_connections(client: u32, count: u32) -> Vec<String> {
    let attempt = |number| {
        let text = format!("client {client} connection {number}");
        match ask_line(&format!("{MACHINE_V4}:8080"), &text) {
            Ok(answer) if answer.trim_end() == text => None,
            Ok(answer) => Some(format!("{text}: {answer:?}")),
            Err(error) => Some(format!("{text}: {error}")),
        }
    };
    (0..count).filter_map(attempt).take(10).collect()
}

fn ask_line(address: &str, text: &str) -> std::io::Result<String> {
    let mut stream = net::connect(address)?;
    writeln!(stream, "{text}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
