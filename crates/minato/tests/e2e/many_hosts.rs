//! Many hosts on one network.

use std::fs;
use std::time::{Duration, Instant};

use minato_inspect::Host;

use crate::machine::{Machine, wait_until};
use crate::support::api::Api;

/// How many; `MINATO_E2E_HOSTS=200` is what a release build is measured with.
fn count() -> usize {
    std::env::var("MINATO_E2E_HOSTS").ok().and_then(|text| text.parse().ok()).unwrap_or(60)
}

/// Long enough for as many programs on a machine that does something else.
const LATER: Duration = Duration::from_secs(60);

#[test]
fn all_start_and_any_reaches_any() {
    Machine::run(&[], |machine| {
        let (user, count) = (machine.user(), count());
        let list = machine.work().join("addresses");
        let start = Instant::now();
        let role = machine.peer(&format!("mesh 8000 {}", list.display()));
        let runs: Vec<_> = (0..count).map(|number| user.run(&["--name", &format!("host-{number}")], &role)).collect();
        let listening = || -> usize {
            let rows: Vec<minato_inspect::Forward> = Api::USER.get("/v1/forwards").unwrap_or_default();
            rows.iter().filter(|row| row.automatic && row.transport == minato_inspect::Transport::Tcp).count()
        };
        wait_until("every host's service", LATER, || {
            std::thread::sleep(Duration::from_millis(50));
            listening() == count
        });
        let started = start.elapsed();
        let listed = Instant::now();
        let hosts: Vec<Host> = Api::USER.get("/v1/hosts").expect("an engine");
        let listed = listed.elapsed();
        let ports = Instant::now();
        let rows: Vec<minato_inspect::PortRow> = Api::USER.get("/v1/ports").expect("an engine");
        let ports = ports.elapsed();
        assert!(rows.iter().all(|row| row.processes.len() == 1), "{rows:?}");

        let [engine] = machine.engines().try_into().unwrap_or_else(|_| panic!("not one engine"));
        let ticks = engine.ticks();
        std::thread::sleep(Duration::from_secs(2));
        let idle = engine.ticks() - ticks;

        let addresses =
            hosts.iter().flat_map(|host| [host.address_v4.to_string(), host.address_v6.expect("IPv6").to_string()]);
        let addresses: Vec<String> = addresses.collect();
        assert_eq!(addresses.len(), 2 * count);
        let meshed = Instant::now();
        // All at once, from every host to every host, by IPv4 and IPv6.
        fs::write(list.with_extension("new"), addresses.join("\n")).expect("a list");
        fs::rename(list.with_extension("new"), &list).expect("the list");
        let expected = format!("{} answers\n", 2 * count);
        for (number, run) in runs.iter().enumerate() {
            wait_until("a host's answers", LATER, || run.stderr().contains(" answers"));
            assert!(run.stderr().ends_with(&expected), "host-{number}: {}", run.stderr());
        }
        let meshed = meshed.elapsed();

        let end = Instant::now();
        runs.iter().for_each(|run| run.signal(rustix::process::Signal::TERM));
        runs.into_iter().for_each(|run| drop(run.finish_within(LATER)));
        let ended = end.elapsed();
        eprintln!(
            "{count} hosts: started in {started:?}, listed in {listed:?}, ports in {ports:?}, {idle} ticks of 10 ms in 2 s, \
             any reached any in {meshed:?}, ended in {ended:?}"
        );
    });
}
