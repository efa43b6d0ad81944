//! `minato up --watch` where something is in the way.

use std::fs;
use std::net::TcpListener;

use rustix::process::Signal;

use super::{is_served, says, write};
use crate::machine::{Machine, SOON, wait_until};

/// A page, with a second forward to it.
fn web(second: u16) -> String {
    format!("[host.web]\ncommand = 'python3 -u -m http.server 80'\nready = 80\nports = {{ 80 = [8080, {second}] }}\n")
}

#[test]
fn a_forward_that_cannot_change_stays_what_it_was() {
    Machine::run(&["python3"], |machine| {
        let user = machine.user();
        write(machine, "minato.toml", &web(8081));
        let up = user.start(user.minato(&["up", "--watch"]));
        says(&up, "network 'work' is ready");
        let server = machine.processes_named("python3").remove(0).pid;
        let taken = TcpListener::bind("127.0.0.1:9081").expect("a port");
        write(machine, "minato.toml", &web(9081));
        says(&up, "until then web keeps the forwards that it has");
        assert!(is_served(8080) && is_served(8081), "{}", up.stderr());
        write(machine, "minato.toml", &web(9082));
        wait_until("the other port", SOON, || is_served(9082) && !is_served(8081));
        write(machine, "minato.toml", &web(9081));
        wait_until("the same words again", SOON, || up.stderr().matches("until then web keeps").count() == 2);
        drop(taken);
        wait_until("the port that was taken, without a change", SOON, || is_served(9081) && !is_served(9082));
        assert!(is_served(8080));
        assert_eq!(machine.processes_named("python3").remove(0).pid, server, "it runs on");
        up.stop().expect_success();
    });
}

#[test]
fn ports_pass_from_one_host_to_another() {
    Machine::run(&["python3"], |machine| {
        let user = machine.user();
        let hosts = |a: u16, b: u16| {
            let host = |name: &str, port: u16| {
                format!(
                    "[host.{name}]\ncommand = 'python3 -u -m http.server 80'\nready = 80\nports = {{ 80 = {port} }}\n"
                )
            };
            host("a", a) + &host("b", b)
        };
        write(machine, "minato.toml", &hosts(8080, 8081));
        let up = user.start(user.minato(&["up", "--watch"]));
        says(&up, "network 'work' is ready");
        write(machine, "minato.toml", &hosts(8081, 8080));
        says(&up, "the forwards of a are changed");
        says(&up, "the forwards of b are changed");
        wait_until("both ports", SOON, || is_served(8080) && is_served(8081));
        up.stop().expect_success();
    });
}

#[test]
fn what_hangs_or_has_ended_is_mended_by_the_file() {
    Machine::run(&["python3"], |machine| {
        let user = machine.user();
        let file = |command: &str, port: u16| {
            let page = format!("[host.web]\ncommand = '{command}'\nready = 80\nports = {{ 80 = {port} }}\n");
            write(machine, "minato.toml", &(page + "[host.other]\ncommand = 'sleep 1000'\n"));
        };
        file("sleep 1001", 8080);
        let up = user.start(user.minato(&["up", "--watch"]));
        wait_until("the program that never listens", SOON, || !machine.processes_with_argument("1001").is_empty());
        file("python3 -u -m http.server 80", 8080);
        says(&up, "network 'work' is ready");
        assert!(is_served(8080));
        // It ends, and comes again with nothing but another forward.
        machine.processes_named("python3").iter().for_each(crate::machine::Process::kill);
        says(&up, "web has ended, not all of it well");
        file("python3 -u -m http.server 80", 9080);
        wait_until("the page again", SOON, || is_served(9080));
        up.stop().expect_success();
    });
}

/// The engine still makes the host of before when the file changes: its successor waits for the name.
#[test]
fn a_host_that_changes_while_it_is_made_comes_as_it_is_to_be() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let go = machine.work().join("go");
        let file = |number: u16| {
            let text = format!(
                "[host.a]\ncommand = 'sleep 1001'\nready-command = ['test', '-e', 'go']\n\
                 [host.b]\ncommand = 'sleep {number}'\ndepends-on = ['a']\n"
            );
            write(machine, "minato.toml", &text);
        };
        file(1002);
        let up = user.start(user.minato(&["up", "--watch"]));
        wait_until("a", SOON, || !machine.processes_with_argument("1001").is_empty());
        // Whose it is to make the host.
        let [agent] = machine.processes_named("minato-agent").try_into().unwrap_or_else(|_| panic!("not one agent"));
        agent.signal(Signal::STOP);
        fs::write(&go, "").expect("a file");
        let status = || fs::read_to_string("/run/user/1000/minato/work/up.json").unwrap_or_default();
        wait_until("b to be made", SOON, || status().contains("\"b\":{\"state\":\"starting\""));
        file(1003);
        says(&up, "b ends: the file has changed");
        agent.signal(Signal::CONT);
        wait_until("b as it is to be", SOON, || !machine.processes_with_argument("1003").is_empty());
        says(&up, "network 'work' is ready");
        assert!(machine.processes_with_argument("1002").is_empty());
        up.stop().expect_success();
    });
}
