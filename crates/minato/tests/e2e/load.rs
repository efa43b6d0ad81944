//! Many connections: nothing lost, nothing leaked.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

use crate::machine::{MACHINE_V4, Machine, OUTSIDE_V4, SOON, wait_for, wait_until};
use crate::support::{net, servers};

#[test]
fn two_hundred_parallel_downloads_are_equal() {
    Machine::run(&["nginx", "curl", "sha256sum"], |machine| {
        let nginx = nginx_with_data(machine);
        let server = machine.root().start(machine.outside_command(&nginx.command));
        wait_until("nginx outside", SOON, || net::http_get(&format!("{OUTSIDE_V4}:8000"), "/").is_some());
        let script = download(200, &format!("{OUTSIDE_V4}:8000"));
        let run = machine.user().run(&["--name", "loader"], &["sh", "-c", &script]);
        assert_equal_copies(machine, 200, &run.finish_within(Duration::from_secs(120)).expect_success().stdout);
        server.stop();
    });
}

#[test]
fn fifty_parallel_downloads_through_a_forward_are_equal() {
    Machine::run(&["nginx", "curl", "sha256sum"], |machine| {
        let user = machine.user();
        let nginx = nginx_with_data(machine);
        let server = user.run(&["--name", "web", "-p", "8080:8000"], &nginx.command);
        wait_until("nginx", SOON, || net::http_get("127.0.0.1:8080", "/").is_some());
        let mut command = user.command("sh");
        command.args(["-c", &download(50, "127.0.0.1:8080")]);
        let sums = user.start(command).finish_within(Duration::from_secs(120)).expect_success().stdout;
        assert_equal_copies(machine, 50, &sums);
        server.stop();
    });
}

/// nginx on port 8000 with 10 MiB of random data in `/data`.
fn nginx_with_data(machine: &Machine) -> servers::Server {
    let nginx = servers::nginx(machine, 8000, "page");
    let mut random = fs::File::open("/dev/urandom").expect("random data").take(10 << 20);
    std::io::copy(&mut random, &mut fs::File::create(DATA).expect("a file")).expect("10 MiB");
    nginx
}

/// A shell script that fetches `/data` many times at once, and prints the sum of each copy.
fn download(count: usize, from: &str) -> String {
    format!(
        "mkdir copies && curl --silent --show-error --fail --parallel --parallel-immediate --parallel-max {count} \
         'http://{from}/data?[1-{count}]' -o 'copies/#1' && sha256sum copies/*"
    )
}

fn assert_equal_copies(machine: &Machine, count: usize, sums: &str) {
    let expected = machine.user().finish("sha256sum", &[DATA]).expect_success().stdout;
    let expected = expected.split(' ').next().expect("a sum");
    let equal = sums.lines().filter(|line| line.starts_with(expected)).count();
    assert_eq!(equal, count, "{equal} of {count} copies are intact");
}

const DATA: &str = "/run/work/nginx-8000/site/data";

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
    answer(net::connect(address)?, text)
}

fn answer(mut stream: TcpStream, text: &str) -> std::io::Result<String> {
    writeln!(stream, "{text}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// More than the engine lets wait for sockets inside a host, which come from its agent.
#[test]
fn a_burst_waits_until_sockets_inside_the_host_are_there() {
    const CLIENTS: usize = 1500;
    /// A server that a burst does not overrun.
    const SERVER: &str = "
import asyncio, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
async def echo(reader, writer):
    writer.write(await reader.readline())
    writer.close()
async def main():
    server = await asyncio.start_server(echo, '0.0.0.0', 80, backlog=4096)
    await server.serve_forever()
asyncio.run(main())
";
    Machine::run(&["python3"], |machine| {
        let files = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }).expect("as many files as are allowed");
        let run = machine.user().run(&["--name", "burst", "-p", "0.0.0.0:8080:80"], &["python3", "-c", SERVER]);
        let address = format!("{MACHINE_V4}:8080");
        wait_until("the service", SOON, || ask_line(&address, "ready").is_ok());
        let agent = machine.processes_with_argument("__agent").pop().expect("an agent");
        agent.signal(Signal::STOP);
        let clients: Vec<_> = machine
            .outside_thread(move || (0..CLIENTS).map(|_| net::connect(&address)).collect())
            .join()
            .expect("clients");
        // Until the engine has taken as many as it takes without the agent.
        let [engine] = machine.engines().try_into().unwrap_or_else(|_| panic!("not one engine"));
        wait_until("the clients to wait", SOON, || engine.descriptors() > 1024);
        agent.signal(Signal::CONT);
        let answers =
            clients.into_iter().enumerate().map(|(number, stream)| answer(stream?, &format!("client {number}")));
        let failed: Vec<String> = answers.filter_map(|answer| answer.err().map(|error| error.to_string())).collect();
        assert!(failed.is_empty(), "{} of {CLIENTS}: {}", failed.len(), failed[0]);
        run.stop();
    });
}
