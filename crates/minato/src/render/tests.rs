use minato_host::check::{Check, CheckState};
use minato_inspect::{Process, Unknown};

use super::samples;
use super::widths::{at_widths, whole};
use super::{Look, age, bytes, holders, printable};

#[test]
fn ports() {
    insta::assert_snapshot!(at_widths(|look| super::ports(&samples::ports(), look)));
}

#[test]
fn ports_that_follow_each_other_are_one_line() {
    insta::assert_snapshot!(at_widths(|look| super::ports(&samples::port_runs(), look)));
}

#[test]
fn hosts() {
    insta::assert_snapshot!(at_widths(|look| super::hosts(&samples::hosts(), look)));
}

#[test]
fn flows() {
    insta::assert_snapshot!(at_widths(|look| super::flows(&samples::flows(), look)));
}

#[test]
fn events() {
    let lines: String = samples::events().iter().map(super::event).collect();
    insta::assert_snapshot!(whole(|_| lines.clone()));
}

#[test]
fn packets() {
    let packets = samples::packets();
    let lines: String = packets.iter().map(super::packet).collect();
    let comments: Vec<_> = packets.iter().map(super::packet_comment).collect();
    insta::assert_snapshot!(whole(|_| format!("{lines}--- comments\n{comments:#?}")));
}

#[test]
fn forwards() {
    insta::assert_snapshot!(at_widths(|look| super::forwards(&samples::forwards(), look)));
}

#[test]
fn services() {
    let entries = crate::commands::entries(443);
    insta::assert_snapshot!(at_widths(|look| super::services(&entries, look)));
}

#[test]
fn checks() {
    let check = |name, state, evidence: &str, fix: Option<&str>| Check {
        name,
        state,
        evidence: evidence.into(),
        fix: fix.map(str::to_owned),
    };
    let checks = [
        check("user namespaces", CheckState::Ok, "made one", None),
        check("open files", CheckState::Warn, "hard limit 20000", Some("ulimit -Hn 65536")),
        check("TUN device", CheckState::Fail, "/dev/net/tun: permission denied", Some("sudo chmod 666 /dev/net/tun")),
    ];
    insta::assert_snapshot!(whole(|look| super::checks(&checks, look)));
}

#[test]
fn without_a_limit_nothing_is_cut() {
    let text = super::ports(&samples::ports(), &Look::default());
    assert!(!text.contains('…'), "{text}");
    assert!(text.contains("127.0.0.1:8080, [::1]:8080"), "{text}");
}

#[test]
fn colour_changes_nothing_but_colour() {
    let plain = super::ports(&samples::ports(), &Look { colour: false, width: Some(80) });
    let coloured = super::ports(&samples::ports(), &Look { colour: true, width: Some(80) });
    assert_ne!(plain, coloured);
    let mut stripped = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        stripped += before;
        rest = after.split_once('m').map_or("", |(_, text)| text);
    }
    stripped += rest;
    let trimmed: Vec<&str> = stripped.lines().map(str::trim_end).collect();
    assert_eq!(trimmed, plain.lines().collect::<Vec<_>>());
}

#[test]
fn ages_and_bytes_are_short() {
    let ages = [0.0, 0.35, 12.0, 200.0, 4.5 * 3600.0, 9.5 * 86400.0].map(age);
    assert_eq!(ages, ["0ms", "350ms", "12s", "3m", "4h", "9d"]);
    let counts = [0, 999, 1_000, 1_234, 88_000, 999_499, 999_500, 12_345_678_901].map(bytes);
    assert_eq!(counts, ["0 B", "999 B", "1.0 kB", "1.2 kB", "88 kB", "999 kB", "1.0 MB", "12 GB"]);
}

#[test]
fn unknown_is_not_none() {
    assert_eq!(holders(&[], None), "–");
    assert_eq!(holders(&[], Some(Unknown::NoPermission)), "unknown (no permission)");
    assert_eq!(holders(&[], Some(Unknown::Vanished)), "unknown (gone)");
    let processes: Vec<Process> = [4121, 4122, 4123].map(|pid| samples::process(pid, "apache2 -X")).to_vec();
    assert_eq!(holders(&processes, None), "apache2 4121 +2");
}

#[test]
fn names_from_outside_cannot_steer_the_terminal() {
    assert_eq!(printable("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
}
