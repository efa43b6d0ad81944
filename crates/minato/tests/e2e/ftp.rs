//! File transfer: a control connection, and a port of its own for each file.

use std::process::Command;

use crate::explain::explain;
use crate::machine::{Account, Finished, MACHINE_V4, MACHINE_V6, Machine, Program, SOON, wait_until};
use crate::support::api::Api;
use crate::support::{net, servers};

/// The client connects again: by EPSV (RFC 2428), which names a port, and by PASV (RFC 959), which names an address too.
const PASSIVE: [&[&str]; 2] = [&[], &["--disable-epsv"]];
/// The server connects: by EPRT and by PORT.
const ACTIVE: [&[&str]; 2] = [&["--ftp-port", "-"], &["--disable-eprt", "--ftp-port", "-"]];
/// Those of `servers::vsftpd`.
const DATA_PORTS: &str = "30000-30009:30000-30009";

/// vsftpd in the host `files`.
fn serve(machine: &Machine, account: &Account<'_>, flags: &[&str]) -> Program {
    let vsftpd = servers::vsftpd(machine);
    std::fs::write(machine.work().join("vsftpd/site/hello.txt"), "hello by FTP\n").expect("a file");
    let files = account.run(&[&["--name", "files"], flags].concat(), &vsftpd.command);
    wait_until("vsftpd", SOON, || Api::ROOT.port("files", 21).is_some());
    files
}

/// Gets a file from the server, and a list of its files, with curl in `place`.
fn transfer(place: impl Fn(&[&str]) -> Finished, how: &[&str], server: &str) {
    let curl = ["curl", "--silent", "--show-error", "--max-time", "15"];
    for (path, expected) in [("hello.txt", "hello by FTP\n"), ("", "hello.txt")] {
        let url = format!("ftp://{server}/{path}");
        let got = place(&[&curl[..], how, &[&url]].concat()).expect_success().stdout;
        assert!(got.contains(expected), "{how:?} {url}: {got}");
    }
}

/// The client learns the port of each file when the server has just begun to listen at it.
#[test]
fn files_come_through_forwards() {
    Machine::run(&["vsftpd", "curl"], |machine| {
        let root = machine.root();
        let here = |words: &[&str]| root.finish(words[0], &words[1..]);
        let files = serve(machine, &root, &["-p", "2121:21", "-p", DATA_PORTS]);
        for how in PASSIVE {
            for server in ["127.0.0.1:2121", "[::1]:2121"] {
                (0..5).for_each(|_| transfer(here, how, server));
            }
        }
        // Without them the greeting comes, and nothing else.
        root.minato_finish(&["forward", "rm", "-p", DATA_PORTS, "files"]).expect_success();
        assert!(net::greeting("127.0.0.1:2121").is_some_and(|text| text.starts_with("220 minato test")));
        here(&["curl", "--silent", "ftp://127.0.0.1:2121/hello.txt"]).expect_code(7);
        let told = explain(&root, &["2121"], 0, &["! data", "opens another port for each file"]);
        let fix = told.lines().find_map(|line| line.split_once(", and minato ")).expect("what to do").1;
        root.finish("sh", &["-c", &format!("/run/bin/minato {fix}")]).expect_success();
        transfer(here, PASSIVE[0], "127.0.0.1:2121");
        assert!(!explain(&root, &["2121"], 0, &[]).contains("! data"));
        files.stop();
    });
}

#[test]
fn files_come_to_other_machines() {
    Machine::run(&["vsftpd", "curl"], |machine| {
        let root = machine.root();
        for direct in [&[][..], &["--direct"]] {
            let of_both = |ports: &str| [format!("0.0.0.0:{ports}"), format!("[::]:{ports}")];
            let (control, data) = (of_both("2121:21"), of_both(DATA_PORTS));
            let forwards = control.iter().chain(&data).flat_map(|forward| ["-p", forward]);
            let files = serve(machine, &root, &[direct, &forwards.collect::<Vec<_>>()].concat());
            let outside = |words: &[&str]| {
                let mut command: Command = machine.outside_command(words);
                root.start(&mut command).finish()
            };
            // Active, the server connects to the client from the machine's address.
            for how in PASSIVE.iter().chain(&ACTIVE) {
                for server in [format!("{MACHINE_V4}:2121"), format!("[{MACHINE_V6}]:2121")] {
                    transfer(outside, how, &server);
                }
            }
            files.stop();
            std::fs::remove_dir_all(machine.work().join("vsftpd")).expect("its files");
            wait_until("the engine's end", SOON, || machine.engines().is_empty());
        }
    });
}

#[test]
fn files_come_from_host_to_host() {
    Machine::run(&["vsftpd", "curl"], |machine| {
        let root = machine.root();
        let files = serve(machine, &root, &[]);
        let client = root.run(&["--name", "client"], &["sleep", "200"]);
        Api::ROOT.host("client");
        let inside = |words: &[&str]| root.exec("client", words).finish();
        for how in PASSIVE.iter().chain(&ACTIVE) {
            for family in ["-4", "-6"] {
                transfer(inside, &[how, &[family][..]].concat(), "files");
            }
        }
        client.stop();
        files.stop();
    });
}
