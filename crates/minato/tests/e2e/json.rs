//! What `--json` prints is what `docs/schemas/views.json` says.

use std::collections::BTreeSet;
use std::fs;

use crate::machine::{Machine, SOON, wait_for, wait_until};
use crate::support::schema::{self, judge};
use crate::support::watching::watch;
use crate::support::{net, servers};

/// Commands that print a view and succeed, in a network with the host `web` whose port 80 is forwarded from 8080.
const GOOD: &[&[&str]] = &[
    &["ps"],
    &["ports"],
    &["ports", "--host"],
    &["flows"],
    &["forward", "ls"],
    &["forward", "add", "-p", "9000:80", "-p", "9001:53/udp", "web"],
    &["forward", "rm", "-p", "9000:80", "web"],
    &["explain", "web:80"],
    &["doctor"],
    &["service", "443"],
    &["service", "49000-49152"],
    &["lease", "2", "--within", "1"],
    &["version"],
    &["trust"],
    &["trust", "--print"],
    &["check", "-f", "fine.toml"],
];

const FILE: &str = "network = \"filed\"\n[host.one]\ncommand = [\"sh\", \"-c\", \"echo hello; sleep 100\"]\n";

#[test]
fn every_view_fits_its_schema() {
    Machine::run(&["nginx"], |machine| {
        let user = machine.user();
        fs::write(machine.work().join("fine.toml"), FILE).expect("a file");
        fs::write(machine.work().join("wrong.toml"), "[host.one]\ncomand = 1\n").expect("a file");
        let keeper = user.run(&["--name", "keeper"], &["sleep", "100"]);
        wait_until("the network", SOON, || user.minato_finish(&["ps"]).stdout.contains("keeper"));
        let events = watch(&user, "keeper", &["--json"]);
        let nginx = servers::nginx(machine, 80, "page");
        let web = user.run(&["--name", "web", "-p", "8080:80"], &nginx.command);
        wait_for("a page", SOON, || net::http_get("127.0.0.1:8080", "/"));
        let open = net::connect("127.0.0.1:8080").expect("a connection");
        let packets = user.start(user.minato(&["capture", "web", "--json", "-c", "5"]));
        wait_until("the capture to begin", SOON, || packets.stderr().contains("Ctrl-C ends it"));
        wait_for("a page", SOON, || net::http_get("127.0.0.1:8080", "/"));

        let mut seen: BTreeSet<Vec<String>> = judge(&packets.finish().expect_success().stdout);
        for arguments in GOOD {
            let printed = user.minato_finish(&[arguments, &["--json"][..]].concat()).expect_success().stdout;
            assert_eq!(printed.lines().count(), 1, "{arguments:?}: {printed}");
            seen.extend(judge(&printed));
        }
        for broken in ["8079", "web:81", "8080/udp", "192.0.2.1:1"] {
            seen.extend(judge(&user.minato_finish(&["explain", broken, "--json"]).stdout));
        }
        seen.extend(judge(&user.minato_finish(&["check", "-f", "wrong.toml", "--json"]).expect_code(2).stdout));
        let taken = user.minato_finish(&["run", "--json", "-p", "8080:80", "--", "true"]).expect_code(16);
        seen.extend(judge(&taken.stderr));
        user.minato_finish(&["up", "-d", "-f", "fine.toml"]).expect_success();
        seen.extend(judge(&user.minato_finish(&["ps", "-f", "fine.toml", "--json"]).expect_success().stdout));
        wait_until("a line", SOON, || user.minato_finish(&["logs", "--file", "fine.toml"]).stdout.contains("hello"));
        seen.extend(judge(&user.minato_finish(&["logs", "--file", "fine.toml", "--json"]).expect_success().stdout));
        user.minato_finish(&["down", "-f", "fine.toml"]).expect_success();

        drop(open);
        web.stop();
        keeper.stop();
        seen.extend(judge(&events.finish().expect_success().stdout));
        let missing: Vec<_> = schema::views().difference(&seen).cloned().collect();
        assert_eq!(missing, Vec::<Vec<String>>::new(), "views that this test does not show");
    });
}

#[test]
fn a_command_line_that_cannot_be_read_is_refused_as_data_where_data_is_asked_for() {
    Machine::run(&[], |machine| {
        for (arguments, title) in [
            (&["foo", "--json"][..], "unrecognized subcommand 'foo'"),
            (&["lease", "abc", "--json"], "invalid value 'abc' for '[N]'"),
            (&["--json", "ports", "--jsno"], "unexpected argument '--jsno' found"),
        ] {
            let refused = machine.user().minato_finish(arguments).expect_code(2);
            let told: serde_json::Value = serde_json::from_str(&refused.stderr).expect("JSON");
            let failure = &told["failure"];
            assert_eq!(failure["code"], 2, "{told}");
            assert!(failure["title"].as_str().is_some_and(|told| told.starts_with(title)), "{told}");
        }
        machine.user().minato_finish(&["foo"]).expect_code(2).expect_stderr(&["Usage: minato"]);
        machine.user().minato_finish(&["ports", "--help", "--json"]).expect_success();
    });
}
