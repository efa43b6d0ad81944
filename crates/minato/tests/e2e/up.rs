//! `minato up`, `down`, `logs`, `check` and `ps -f`: several hosts from one file.

mod endings;
mod logs;
mod network;
mod restarts;
mod watch;

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;

use rustix::process::Signal;

use crate::machine::{Machine, Program, SOON, leftovers, wait_for, wait_until};
use crate::support::net;

/// A database that takes a while, and a page that is served only when it is there.
const PAIR: &str = r#"
network = "pair"
[host.web]
command = ["sh", "-c", "python3 -c 'import socket; socket.create_connection((\"10.77.0.2\", 5432))' && exec python3 -u -m http.server 80"]
ports = { 80 = 8080 }
depends-on = ["db"]
[host.db]
command = ["sh", "-c", "sleep 1; exec python3 -u -m http.server 5432"]
ready = 5432
"#;

fn write(machine: &Machine, name: &str, text: &str) -> PathBuf {
    let path = machine.work().join(name);
    fs::write(&path, text).expect("a file");
    path
}

/// Waits for a line on standard error of a program that runs.
fn says(program: &Program, words: &str) {
    wait_until(words, SOON, || program.stderr().contains(words));
}

fn is_served(port: u16) -> bool {
    net::http_get(&format!("127.0.0.1:{port}"), "/").is_some_and(|answer| answer.contains("200 OK"))
}

#[test]
fn a_service_that_finds_its_port_taken_is_told_by_whom() {
    Machine::run(&["python3"], |machine| {
        let user = machine.user();
        let server = "import socket, time; s = socket.create_server(('', 80)); time.sleep(1000)";
        let late = format!("import time; time.sleep(1); {server}");
        let file = |more: &str| {
            let service = |name: &str, program: &str| {
                format!("[host.web.service.{name}]\ncommand = ['python3', '-c', \"{program}\"]\n{more}")
            };
            format!("[host.web]\nready = 80\n{}{}", service("first", server), service("second", &late))
        };
        write(machine, "minato.toml", &file(""));
        let up = user.start(user.minato(&["up"]));
        says(&up, "can't bind 0.0.0.0:80/tcp in host \"web\": the port is in use");
        says(&up, "80/tcp is held by python3 (pid ");
        up.stop();
        write(machine, "minato.toml", &file("bind-watch = false\n"));
        let up = user.start(user.minato(&["up"]));
        wait_until("what the program says", SOON, || up.stdout().contains("Address already in use"));
        let ended = up.stop();
        assert!(!ended.stderr.contains("is held by"), "{}", ended.stderr);
    });
}

#[test]
fn a_file_comes_up_in_order_and_goes_down_to_nothing() {
    Machine::run(&["python3"], |machine| {
        let user = machine.user();
        write(machine, "minato.toml", PAIR);
        let up = user.minato_finish(&["up", "-d"]).expect_success();
        let order = ["db is ready", "web is ready", "network 'pair' is ready", "80 at localhost:8080"];
        let places = order.map(|words| up.stderr.find(words).unwrap_or_else(|| panic!("no {words}: {}", up.stderr)));
        assert!(places.is_sorted(), "{}", up.stderr);
        assert!(is_served(8080), "ready means ready");

        let shown = user.minato_json(&["ps", "-f", "minato.toml"]);
        assert_eq!(shown["up"]["hosts"]["web"]["state"], "ready", "{shown}");
        assert_eq!(shown["up"]["services"].as_array().map(Vec::len), Some(2));
        assert_eq!(shown["hosts"].as_array().map(Vec::len), Some(2));
        let logs = wait_for("the request in the log", SOON, || {
            Some(user.minato_finish(&["logs", "web"]).stdout).filter(|logs| logs.contains("GET / HTTP"))
        });
        assert!(logs.contains("web | ") && !logs.contains("db"), "{logs}");
        user.minato_finish(&["logs", "nobody"]).expect_code(10);

        user.minato_finish(&["down"]).expect_success();
        assert_eq!(leftovers::runtime_directories(), Vec::<PathBuf>::new(), "down returns when all is gone");
        user.minato_finish(&["down"]).expect_success().expect_stderr(&["'pair' is not up"]);
        user.minato_finish(&["logs"]).expect_code(10);
    });
}

#[test]
fn what_is_ended_while_it_starts_was_never_ready() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        write(machine, "minato.toml", "[host.a]\ncommand = 'sleep 1000'\nready = 80\n");
        let up = user.start(user.minato(&["up", "-d"]));
        wait_until("the program", SOON, || !machine.processes_named("sleep").is_empty());
        user.minato_finish(&["down"]).expect_success();
        up.finish().expect_code(1).expect_stderr(&["'work' was ended before everything was ready"]);
        let up = user.start(user.minato(&["up", "-d"]));
        wait_until("the program", SOON, || !machine.processes_named("sleep").is_empty());
        up.signal(Signal::INT);
        up.finish().expect_code(130).expect_stderr(&["before everything was ready"]);
    });
}

#[test]
fn a_program_that_fails_before_it_is_ready_is_named() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let text = "[host.web]\ncommand = ['sh', '-c', 'echo one; echo two >&2; exit 3']\nports = { 80 = 8080 }\n\
                    [host.other]\ncommand = 'sleep 1000'\n";
        write(machine, "minato.toml", text);
        for arguments in [&["up"][..], &["up", "-d"]] {
            let words = ["web ended with exit code 3 before it was ready", "command: sh -c", "    one\n    two\n"];
            user.minato_finish(arguments).expect_code(1).expect_stderr(&words);
            assert!(machine.processes_named("sleep").is_empty() && machine.engines().is_empty());
        }
        write(machine, "minato.toml", "[host.web]\ncommand = 'nonesuch'\n");
        user.minato_finish(&["up"]).expect_code(1).expect_stderr(&["no program 'nonesuch'", "of web"]);
        write(machine, "minato.toml", "[host.web]\ncommand = 'sleep 9'\nports = { 80 = 80 }\n");
        user.minato_finish(&["up", "-d"]).expect_code(13).expect_stderr(&["127.0.0.1:80 is privileged", "host 'web'"]);
        write(machine, "minato.toml", "[host.web]\ncomand = 'x'\n");
        user.minato_finish(&["up"]).expect_code(2).expect_stderr(&["minato.toml:2:1", "did you mean 'command'?"]);
    });
}

#[test]
fn a_program_that_fails_while_another_starts_ends_everything() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let text = "[host.once]\ncommand = ['sh', '-c', 'echo no; sleep 0.5; exit 4']\n\
                    [host.slow]\ncommand = 'sleep 1000'\nready = 80\n\
                    [host.after]\ncommand = 'sleep 1000'\ndepends-on = ['once', 'slow']\n";
        write(machine, "minato.toml", text);
        for arguments in [&["up"][..], &["up", "-d"]] {
            let words = ["once ended with exit code 4 before everything was ready", "    no\n"];
            user.minato_finish(arguments).expect_code(1).expect_stderr(&words);
            assert!(machine.processes_named("sleep").is_empty() && machine.engines().is_empty());
        }
        // What has ended well before was ready all the same.
        write(machine, "minato.toml", "[host.once]\ncommand = 'true'\n");
        user.minato_finish(&["up", "-d"]).expect_success().expect_stderr(&["network 'work' is ready"]);
        user.minato_finish(&["down"]).expect_success();
    });
}

#[test]
fn a_second_up_is_refused_and_an_instance_is_not() {
    Machine::run(&["python3"], |machine| {
        let user = machine.user();
        let text = "network = 'one'\n[host.web]\ncommand = 'python3 -u -m http.server 80'\nports = { 80 = 8080 }\n\
                    environment = { WHERE = 'here' }\n[host.tell]\ncommand = 'env'\n";
        write(machine, "minato.toml", text);
        let first = user.start(user.minato(&["up"]));
        says(&first, "network 'one' is ready");
        let refused = user.minato_finish(&["up"]).expect_code(16);
        refused.expect_stderr(&["network 'one' is up already", &format!("pid {}", first.id()), "minato.toml"]);
        let other = user.minato_finish(&["up", "-d", "--instance", "feature/Other"]).expect_success();
        assert!(other.stderr.contains("instead of 8080"), "{}", other.stderr);
        let forwards = user.minato_json(&["forward", "ls", "--network", "one-feature-other"]);
        let port =
            forwards["forwards"][0]["host_port"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
        assert!(is_served(8080) && is_served(port) && port != 8080);
        for variable in ["MINATO_HOST=tell", "MINATO_NETWORK=one-feature-other"] {
            wait_until(variable, SOON, || {
                user.minato_finish(&["logs", "--instance", "feature/Other", "tell"]).stdout.contains(variable)
            });
        }
        user.minato_finish(&["down", "--instance", "feature/Other"]).expect_success();
        assert!(is_served(8080), "the first one is untouched");
        first.stop().expect_success();
    });
}

#[test]
fn a_program_that_ends_is_started_again_where_the_file_says_so() {
    Machine::run(&["python3"], |machine| {
        let user = machine.user();
        let text =
            "[host.web]\ncommand = 'python3 -u -m http.server 80'\nports = { 80 = 8080 }\nrestart = 'on-failure'\n";
        write(machine, "minato.toml", text);
        let up = user.start(user.minato(&["up"]));
        says(&up, "network 'work' is ready");
        machine.processes_named("python3").iter().for_each(crate::machine::Process::kill);
        says(&up, "web ended with SIGKILL; starts again");
        wait_until("the page again", SOON, || is_served(8080));
        let shown = user.minato_json(&["ps", "-f", "minato.toml"]);
        assert_eq!(shown["up"]["services"][0]["restarts"], 1, "{shown}");
        // Ended well, it is not, and with it the last program.
        machine.processes_named("python3").remove(0).signal(Signal::INT);
        up.finish().expect_success();
    });
}

/// Neither the supervisor nor its programs wait for whoever shows what they say.
#[test]
fn standard_output_that_nobody_takes_holds_nothing_up() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let text = "[host.loud]\ncommand = ['sh', '-c', 'seq 200000; exec sleep 1000']\n";
        write(machine, "minato.toml", text);
        let mut command = user.minato(&["up"]);
        let mut up = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("up");
        wait_until("all of it", SOON, || !machine.processes_named("sleep").is_empty());
        wait_until("the last line", SOON, || {
            user.minato_finish(&["logs"]).stdout.lines().last().is_some_and(|line| line.ends_with(" 200000"))
        });
        user.minato_finish(&["down"]).expect_success();
        assert!(up.wait().expect("its end").success());
    });
}

#[test]
fn a_full_disk_ends_no_program() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        write(machine, "minato.toml", "[host.a]\ncommand = ['sh', '-c', 'echo one; exec sleep 1000']\n");
        let full = || File::options().write(true).open("/dev/full").expect("/dev/full");
        let mut command = user.minato(&["up"]);
        let mut up = command.stdout(full()).stderr(Stdio::null()).spawn().expect("up");
        wait_until("the program", SOON, || !machine.processes_named("sleep").is_empty());
        wait_until("its line", SOON, || user.minato_finish(&["logs"]).stdout.contains("a | one"));
        let logs = user.minato(&["logs"]).stdout(full()).output().expect("logs");
        assert_eq!(logs.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&logs.stderr).contains("cannot write to standard output"));
        assert!(up.try_wait().expect("its state").is_none(), "it goes on");
        user.minato_finish(&["down"]).expect_success();
        assert!(up.wait().expect("its end").success());
    });
}

#[test]
fn a_host_that_is_not_ready_says_what_for() {
    Machine::run(&["python3"], |machine| {
        let user = machine.user();
        let text = "[host.a]\ncommand = 'python3 -m http.server 80'\nready = [80, 443, '53/udp']\n";
        write(machine, "minato.toml", text);
        let up = user.start(user.minato(&["up"]));
        says(&up, "a is not ready: nothing listens on 53/udp, 443/tcp yet");
        up.stop();
    });
}

#[test]
fn a_ready_command_that_fails_is_told_of() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let file = |words: &str| format!("[host.a]\ncommand = 'sleep 1000'\nready-command = {words}\n");
        write(machine, "minato.toml", &file("['sh', '-c', 'echo first >&2; echo no such table >&2; exit 3']"));
        let up = user.start(user.minato(&["up", "-d"]));
        says(&up, "a is not ready: its ready-command ends with exit code 3; its last words: no such table");
        up.stop();
        write(machine, "minato.toml", &file("'sleep 1001'"));
        let up = user.start(user.minato(&["up", "-d"]));
        says(&up, "a is not ready: its ready-command has not ended yet");
        up.stop();
        // It will not be there the next time either.
        write(machine, "minato.toml", &file("'no-such-thing'"));
        let words = ["there is no program 'no-such-thing' in PATH", "it is the ready-command of a"];
        user.minato_finish(&["up", "-d"]).expect_code(1).expect_stderr(&words);
    });
}

#[test]
fn a_ready_command_knows_its_place() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let text = "[host.a]\ncommand = 'sleep 1000'\nports = { 80 = 8080 }\nready = false\n\
                    ready-command = ['sh', '-c', 'env > told; sleep 1001 & true']\n";
        write(machine, "minato.toml", text);
        let up = user.start(user.minato(&["up"]));
        says(&up, "network 'work' is ready");
        let told = fs::read_to_string(machine.work().join("told")).expect("what it was told");
        for variable in ["MINATO_HOST=a", "MINATO_NETWORK=work", "MINATO_URL_80=http://127.0.0.1:8080", "PORT=80"] {
            assert!(told.contains(variable), "{variable}: {told}");
        }
        wait_until("the end of what it started", SOON, || machine.processes_with_argument("1001").is_empty());
        up.stop().expect_success();
    });
}

#[test]
fn a_program_that_is_missing_for_a_moment_is_tried_again() {
    Machine::run(&["python3"], |machine| {
        let user = machine.user();
        let (serve, away) = (machine.work().join("serve"), machine.work().join("away"));
        write(machine, "serve", "#!/bin/sh\nexec python3 -u -m http.server 80\n");
        fs::set_permissions(&serve, fs::Permissions::from_mode(0o755)).expect("chmod");
        write(machine, "minato.toml", "[host.a]\ncommand = './serve'\nports = { 80 = 8080 }\nrestart = 'always'\n");
        let up = user.start(user.minato(&["up"]));
        says(&up, "network 'work' is ready");
        fs::rename(&serve, &away).expect("it goes");
        machine.processes_named("python3").iter().for_each(crate::machine::Process::kill);
        says(&up, "a could not be started");
        fs::rename(&away, &serve).expect("it comes back");
        wait_until("the page again", SOON, || is_served(8080));
        up.stop().expect_success();
    });
}

#[test]
fn logs_are_followed_to_the_end() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let count = "command = ['sh', '-c', 'echo line 1; until test -e go; do sleep 0.1; done; for i in 2 3 4 5; do echo line $i; done']\n";
        write(machine, "minato.toml", &format!("[host.a]\n{count}[host.b]\n{count}"));
        let up = user.start(user.minato(&["up"]));
        says(&up, "network 'work' is ready");
        let followed = user.start(user.minato(&["logs", "-f", "a"]));
        wait_until("the first line", SOON, || followed.stdout().contains("line 1"));
        write(machine, "go", "");
        let up = up.finish().expect_success();
        assert_eq!(up.stdout.matches("line 5").count(), 2, "{}", up.stdout);
        let followed = followed.finish().expect_success();
        let lines: Vec<String> = (1..=5).map(|number| format!("a | line {number}")).collect();
        assert_eq!(followed.stdout.lines().collect::<Vec<_>>(), lines);
    });
}

#[test]
fn ten_instances_of_one_file_at_once() {
    Machine::run(&["python3"], |machine| {
        let user = machine.user();
        let text = "network = 'many'\n[host.web]\ncommand = 'python3 -u -m http.server 80'\nports = { 80 = 8080 }\n\
                    [host.db]\ncommand = 'python3 -u -m http.server 5432'\nready = 5432\n";
        write(machine, "minato.toml", text);
        let names: Vec<String> = (0..10).map(|number| format!("branch-{number}")).collect();
        let ups: Vec<Program> =
            names.iter().map(|name| user.start(user.minato(&["up", "-d", "--instance", name]))).collect();
        ups.into_iter().for_each(|up| drop(up.finish_within(SOON * 3).expect_success()));
        let mut ports = Vec::new();
        for name in &names {
            let network = format!("many-{name}");
            let bound = user.minato_json(&["ports", "--network", &network]);
            let of = |host: &str| {
                bound["ports"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter(|row| row["host"] == *host)
                    .map(|row| row["port"].clone())
                    .collect::<Vec<_>>()
            };
            assert_eq!((of("web"), of("db")), (vec![80.into()], vec![5432.into()]), "every service on its usual port");
            let forwards = user.minato_json(&["forward", "ls", "--network", &network]);
            let port = forwards["forwards"][0]["host_port"].as_u64().and_then(|port| u16::try_from(port).ok());
            ports.extend(port.filter(|port| is_served(*port)));
        }
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 10, "each is reached on a port of its own");
        let downs: Vec<Program> =
            names.iter().map(|name| user.start(user.minato(&["down", "--instance", name]))).collect();
        downs.into_iter().for_each(|down| drop(down.finish_within(SOON * 3).expect_success()));
        assert_eq!(leftovers::runtime_directories(), Vec::<PathBuf>::new());
    });
}

#[test]
fn changes_of_the_file_are_applied_while_it_runs() {
    Machine::run(&["python3"], |machine| {
        let user = machine.user();
        let web = |port: u16| {
            format!("[host.web]\ncommand = 'python3 -u -m http.server 80'\nready = 80\nports = {{ 80 = {port} }}\n")
        };
        let sleeper = |name: &str, seconds: u32| format!("[host.{name}]\ncommand = 'sleep {seconds}'\n");
        let change = |text: &str| {
            // As editors do: a new file takes the place of the old one.
            write(machine, "minato.toml.new", text);
            fs::rename(machine.work().join("minato.toml.new"), machine.work().join("minato.toml")).expect("a new file");
        };
        change(&(web(8080) + &sleeper("one", 1001) + &sleeper("two", 1002)));
        let up = user.start(user.minato(&["up", "--watch"]));
        says(&up, "network 'work' is ready");
        let server = machine.processes_named("python3").remove(0).pid;

        change("[host.web\n");
        says(&up, "until then nothing changes");
        change(&(web(9080) + &sleeper("one", 1001) + &sleeper("two", 2002) + &sleeper("three", 1003)));
        wait_until("the other port", SOON, || is_served(9080) && !is_served(8080));
        let sleeps = |seconds: &str| !machine.processes_with_argument(seconds).is_empty();
        wait_until("two's new program and three", SOON, || sleeps("2002") && !sleeps("1002") && sleeps("1003"));
        assert!(sleeps("1001"));
        change(&(web(9080) + &sleeper("two", 2002)));
        wait_until("the end of one and three", SOON, || !sleeps("1001") && !sleeps("1003"));
        assert_eq!(machine.processes_named("python3").remove(0).pid, server, "it runs on");
        assert!(sleeps("2002") && is_served(9080));
        up.stop().expect_success();
    });
}
