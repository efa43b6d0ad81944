//! Which network a command is about in a directory with a minato.toml.

use super::{says, write};
use crate::machine::{Machine, Program};

const FILE: &str = "network = 'shop'\n[host.web]\ncommand = 'python3 -u -m http.server 80'\nports = { 80 = 8080 }\n";

fn server(machine: &Machine, arguments: &[&str]) -> Program {
    let server = machine.user().run(arguments, &["sh", "-c", "echo \"in $MINATO_NETWORK\"; exec sleep 1000"]);
    crate::machine::wait_until("the program", crate::machine::SOON, || server.stdout().contains("in "));
    server
}

#[test]
fn commands_follow_the_file_while_its_network_runs() {
    Machine::run(&["python3", "curl"], |machine| {
        let user = machine.user();
        write(machine, "minato.toml", FILE);
        user.minato_finish(&["ps"]).expect_success().expect_stderr(&["no network 'default' is running"]);
        let up = user.start(user.minato(&["up"]));
        says(&up, "network 'shop' is ready");
        assert_eq!(user.minato_json(&["ports"])["ports"][0]["host"], "web");
        let shown = user.minato_json(&["ps"]);
        assert_eq!(
            (&shown["hosts"][0]["name"], &shown["up"]["hosts"]["web"]["state"]),
            (&"web".into(), &"ready".into())
        );
        assert_eq!(user.minato_json(&["forward", "ls"])["forwards"][0]["host_port"], 8080);
        let told = user.minato_finish(&["exec", "web", "--", "sh", "-c", "echo $MINATO_HOST $MINATO_NETWORK"]);
        assert_eq!(told.expect_success().stdout, "web shop\n");
        user.minato_finish(&["explain", "web:80"]).expect_success();
        user.minato_finish(&["forward", "add", "-p", "8081:80", "web"]).expect_success();
        user.minato_finish(&["exec", "web", "--", "true"]).expect_success();
        // Elsewhere, and with another name, it is another one.
        let mut elsewhere = user.minato(&["exec", "web", "--", "true"]);
        let failed = user.start(elsewhere.current_dir("/")).finish().expect_code(10);
        failed.expect_stderr(&["web is a host of network 'shop'", "--network shop"]);
        user.minato_finish(&["--network", "default", "ps"]).expect_stderr(&["no network 'default' is running"]);
        let mut other = user.minato(&["ps"]);
        user.start(other.env("MINATO_NETWORK", "other")).finish().expect_stderr(&["no network 'other' is running"]);
        let mut wrong = user.minato(&["ps"]);
        user.start(wrong.env("MINATO_NETWORK", "../x")).finish().expect_code(2).expect_stderr(&["names no network"]);
        let mut of_no_network = user.minato(&["ports", "--host"]);
        user.start(of_no_network.env("MINATO_NETWORK", "../x")).finish().expect_success();
        up.stop().expect_success();
    });
}

#[test]
fn programs_that_are_added_to_a_host_find_what_its_own_find() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let text = "network = 'shop'\nenvironment = { ALL = 'every' }\n[host.db]\ncommand = 'sleep 1000'\nready = false\n\
                    ports = { 5432 = 8432 }\nenvironment = { PGUSER = 'shop' }\n";
        write(machine, "minato.toml", text);
        let up = user.start(user.minato(&["up"]));
        says(&up, "network 'shop' is ready");
        let told = user.minato_finish(&["exec", "db", "--", "env"]).expect_success().stdout;
        for variable in
            ["ALL=every", "PGUSER=shop", "PORT=5432", "MINATO_URL_5432=http://127.0.0.1:8432", "MINATO_NETWORK=shop"]
        {
            assert!(told.lines().any(|line| line == variable), "no {variable}: {told}");
        }
        up.stop().expect_success();
        assert_eq!(crate::machine::leftovers::runtime_directories(), Vec::<std::path::PathBuf>::new());
        // What is proposed where a port is taken is what a file can say.
        let other = server(machine, &["-p", "8432:80"]);
        let refused = user.minato_finish(&["up"]).expect_code(16);
        refused.expect_stderr(&["the next free port is 8433: ports = { 5432 = 8433 }"]);
        other.stop();
    });
}

#[test]
fn where_the_default_network_runs_too_it_is_said_which_one_is_shown() {
    Machine::run(&["python3"], |machine| {
        let user = machine.user();
        write(machine, "minato.toml", FILE);
        let up = user.start(user.minato(&["up"]));
        says(&up, "network 'shop' is ready");
        // What begins a network does not follow the file.
        let own = server(machine, &["--name", "own"]);
        assert!(own.stdout().contains("in default"), "{}", own.stdout());
        let note = "this is about network 'shop', which minato.toml names; another one runs too: --network default";
        let shown = user.minato_finish(&["ps"]).expect_success();
        assert!(shown.stdout.contains("web") && !shown.stdout.contains("own"), "{}", shown.stdout);
        shown.expect_stderr(&[note]);
        let refused = user.minato_finish(&["exec", "own", "--", "true"]).expect_code(10);
        refused.expect_stderr(&["own is a host of network 'default'", "try: --network default"]);
        let shown = user.minato_finish(&["ps", "--network", "default"]).expect_success();
        assert!(shown.stdout.contains("own") && shown.stderr.is_empty(), "{}", shown.stderr);
        // A command that is proposed means the network that it was proposed for.
        let explained = user.minato_finish(&["--network", "default", "explain", "none:80"]).expect_code(10);
        assert!(explained.stdout.contains("minato --network default ps"), "{}", explained.stdout);
        own.stop();
        up.stop().expect_success();
    });
}

#[test]
fn a_file_that_cannot_be_read_makes_no_command_work_on_another_network() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let text = "network = 'shop'\n[host.db]\ncommand = 'sleep 1000'\n";
        write(machine, "minato.toml", text);
        let up = user.start(user.minato(&["up"]));
        says(&up, "network 'shop' is ready");
        let exec = || user.minato_finish(&["exec", "db", "--", "sh", "-c", "echo $MINATO_NETWORK"]);
        let default = server(machine, &["--name", "db"]);
        assert_eq!(exec().expect_success().stdout, "shop\n");
        for broken in ["network = shop'\n", "network = '../x'\n"] {
            write(machine, "minato.toml", broken);
            exec().expect_code(2).expect_stderr(&[
                "minato.toml can't be read as far as",
                "minato check",
                "--network default",
            ]);
        }
        // Whoever says which is heard.
        user.minato_finish(&["--network", "shop", "exec", "db", "--", "true"]).expect_success();
        // What is wrong elsewhere does not matter.
        write(machine, "minato.toml", "network = 'shop'\nno-key = 1\n");
        assert_eq!(exec().expect_success().stdout, "shop\n");
        up.stop().expect_success();
        default.stop();
    });
}

#[test]
fn commands_inside_of_a_host_are_about_its_network_and_begin_their_own() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let begin = "/run/bin/minato run --name inner -- sh -c 'echo $MINATO_HOST $MINATO_NETWORK'";
        let script = format!("/run/bin/minato ps; {begin}");
        let run = user.run(&["--network", "shop", "--name", "web"], &["sh", "-c", &script]).finish().expect_success();
        assert!(run.stdout.contains("web"), "{}", run.stdout);
        assert!(run.stdout.ends_with("inner default\n"), "{}", run.stdout);
    });
}
