//! Whatever happens to the engine, nothing is left.
#![allow(clippy::disallowed_methods)]

mod common;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use common::{HELPER, TemporaryDirectory, in_worlds};
use minato_host::process;

struct Engine {
    process: Child,
    agent: u32,
    program: u32,
    network: u64,
}

fn start(directory: &Path, command: &[&str]) -> Engine {
    let mut process = Command::new(HELPER)
        .arg("engine")
        .arg(directory)
        .args(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let numbers: Vec<u64> = line.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let [agent, program, network] = numbers[..] else { panic!("the engine did not start") };
    Engine { process, agent: agent as u32, program: program as u32, network }
}

/// Waits up to a minute for something to become true.
fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let start = Instant::now();
    while !check() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn nothing_is_left(engine: &Engine, directory: &Path) {
    eventually("the agent is left", || !runs(engine.agent));
    // Another test's namespace may have the number by now, for a while.
    eventually("processes are left", || process::in_network(engine.network).is_empty());
    eventually("the program is left", || !runs(engine.program));
    eventually("the directory is left", || !directory.exists());
    // No process holds the namespace open, so the kernel has freed it.
    let link = format!("net:[{}]", engine.network);
    let holds = |entry: fs::DirEntry| {
        let descriptors = fs::read_dir(entry.path().join("fd")).into_iter().flatten().flatten();
        descriptors.filter_map(|one| fs::read_link(one.path()).ok()).any(|target| target.to_str() == Some(&link))
    };
    eventually("the namespace is held open", || !fs::read_dir("/proc").unwrap().flatten().any(holds));
}

/// A zombie does not run: in a test's world nobody may be there to reap it.
fn runs(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(')').unwrap().1.trim_start().starts_with(['Z', 'X']))
}

/// Starts children of its own, ignores polite signals, and sits in its own session.
const STUBBORN: [&str; 4] =
    ["setsid", "sh", "-c", "trap '' TERM HUP INT; sleep 1000 & sleep 1000 & while :; do sleep 1000; done"];

#[test]
fn kill_of_the_engine_leaves_nothing() {
    in_worlds("kill_of_the_engine_leaves_nothing", || {
        let directory = TemporaryDirectory::new();
        let mut engine = start(&directory.0, &STUBBORN);
        eventually("the program's children", || process::in_network(engine.network).len() == 4);
        engine.process.kill().unwrap();
        engine.process.wait().unwrap();
        nothing_is_left(&engine, &directory.0);
        // And the next start works.
        let mut engine = start(&directory.0, &STUBBORN);
        engine.process.kill().unwrap();
        engine.process.wait().unwrap();
        nothing_is_left(&engine, &directory.0);
    });
}

/// Browsers and sandboxes leave the network namespace that they were started in, and their parents.
#[test]
fn who_left_the_network_is_ended_too() {
    in_worlds("who_left_the_network_is_ended_too", || {
        let directory = TemporaryDirectory::new();
        // A number that tells this run's processes from another's.
        let number = 1_000_000 + std::process::id();
        let sleep = format!("sleep {number}");
        let script = format!("unshare -Urn {sleep} & (setsid unshare -Urn {sleep} &) ; unshare -Urnm {sleep} & wait");
        let mut engine = start(&directory.0, &["sh", "-c", &script]);
        let sleepers = || {
            let name = |pid: u32| process::describe(pid).map(|process| process.command.join(" ")).unwrap_or_default();
            let numbers = fs::read_dir("/proc").unwrap().flatten();
            let pids = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
            pids.filter(|&pid| name(pid) == sleep).collect::<Vec<u32>>()
        };
        eventually("three sleepers", || sleepers().len() == 3);
        assert!(process::in_network(engine.network).len() < 3);
        engine.process.kill().unwrap();
        engine.process.wait().unwrap();
        nothing_is_left(&engine, &directory.0);
        eventually("a sleeper is left", || !sleepers().into_iter().any(runs));
    });
}

#[test]
fn a_fork_storm_is_ended_too() {
    in_worlds("a_fork_storm_is_ended_too", || {
        let directory = TemporaryDirectory::new();
        let storm = "f() { sleep 0.01; f & f & wait; }; ulimit -u 300 2>/dev/null; while :; do sleep 0.001 & done";
        let mut engine = start(&directory.0, &["sh", "-c", storm]);
        eventually("the storm", || process::in_network(engine.network).len() > 3);
        engine.process.kill().unwrap();
        engine.process.wait().unwrap();
        nothing_is_left(&engine, &directory.0);
    });
}

#[test]
fn the_agents_death_is_noticed_and_leaves_nothing() {
    in_worlds("the_agents_death_is_noticed_and_leaves_nothing", || {
        use std::os::fd::AsFd;
        let world = common::World::new();
        let host = world.host(2);
        let mut program = common::command(&host, minato_host::enter::Identity::Own, &STUBBORN).spawn().unwrap();
        let agent = world.fabric.agent_pid();
        let pid = rustix::process::Pid::from_raw(agent as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        let timeout = rustix::event::Timespec { tv_sec: 60, tv_nsec: 0 };
        let descriptor = rustix::event::PollFd::from_borrowed_fd(world.fabric.as_fd(), rustix::event::PollFlags::IN);
        assert_eq!(rustix::event::poll(&mut [descriptor], Some(&timeout)).unwrap(), 1);
        assert!(world.fabric.add_host(&world.host_config(3)).is_err());
        world.fabric.end();
        drop(world);
        eventually("the program is left", || process::in_network(host.network_inode).is_empty());
        program.wait().unwrap();
    });
}

#[test]
fn an_orderly_end_leaves_nothing() {
    in_worlds("an_orderly_end_leaves_nothing", || {
        let directory = TemporaryDirectory::new();
        let mut engine = start(&directory.0, &STUBBORN);
        drop(engine.process.stdin.take());
        assert!(engine.process.wait().unwrap().success());
        nothing_is_left(&engine, &directory.0);
    });
}
