//! Hosts that are in two networks.

use super::{bash, seen_at, shown};
use crate::explain::{explain, printed_fix};
use crate::machine::{Account, Machine, SOON, wait_for, wait_until};
use crate::support::api::Api;

fn two_networks(machine: &Machine, account: &Account<'_>) {
    let db = account.run(&["--name", "db", "--network", "back"], &machine.peer("who 5432"));
    let web = account.run(&["--name", "web", "--join", "back"], &machine.peer("who 80"));
    let plain = account.run(&["--name", "plain"], &["sleep", "100"]);
    let home = |host| wait_for("the host", SOON, || shown(account, "default", host));
    let (web_home, _) = (home("web"), home("plain"));
    let joined = &web_home["networks"][0];
    assert_eq!(joined["network"], "back");
    let runs = |host: &serde_json::Value| host["processes"][0]["name"].is_string();
    let guest = wait_for("the guest and its program", SOON, || shown(account, "back", "web").filter(runs));
    assert_eq!((&guest["home"], &guest["address_v4"]), (&"default".into(), &joined["address_v4"]));
    let db_there = wait_for("the host", SOON, || shown(account, "back", "db"));
    let text = |value: &serde_json::Value| value.as_str().expect("an address").to_owned();
    let (db_v4, db_v6) = (text(&db_there["address_v4"]), text(&db_there["address_v6"]));
    let (web_v4, web_v6) = (text(&joined["address_v4"]), text(&joined["address_v6"]));

    names(account, [&db_v4, &db_v6], [&web_v4, &web_v6]);

    // From the host that is in both, by name and address; it is seen with its address there.
    let from_web = |place: &str| wait_for(place, SOON, || seen_at(account, "default", "web", place));
    for place in ["db/5432", "db.back.internal/5432"] {
        let seen = from_web(place);
        assert!(seen.starts_with(&web_v4) || seen.starts_with(&format!("[{web_v6}]")), "{place}: {seen}");
    }
    assert!(from_web(&format!("{db_v4}/5432")).starts_with(&web_v4));
    assert!(from_web(&format!("{db_v6}/5432")).starts_with(&format!("[{web_v6}]")));
    // And from there to it, by name and address.
    for place in ["web/80", &format!("{web_v4}/80"), &format!("{web_v6}/80")] {
        assert!(seen_at(account, "back", "db", place).is_some(), "{place}");
    }
    // The host beside it reaches neither address nor name, nor does the other network reach what has not joined.
    for place in ["db/5432", "db.back.internal/5432", &format!("{db_v4}/5432"), &format!("{db_v6}/5432")] {
        let script = format!("timeout 2 bash -c 'exec 3<>/dev/tcp/{place}'");
        assert!(!bash(account, "default", "plain", &script).status.success(), "{place}");
    }
    assert!(!bash(account, "back", "db", "getent hosts plain || getent hosts plain.default.internal").status.success());
    // What leaves does so by its own network.
    let routes = bash(account, "default", "web", "ip route show default").stdout;
    assert!(routes.lines().count() == 1 && routes.contains("dev eth0"), "{routes}");

    explained(account);

    // A name is one host's in each network.
    let taken = account.run(&["--name", "db", "--join", "back"], &["true"]).finish();
    taken.expect_code(16).expect_stderr(&["network \"back\" has a host named \"db\" already"]);
    let left = shown(account, "default", "db");
    assert!(left.is_none(), "a host that could not join is left: {left:?}");

    plain.stop();
    web.stop();
    wait_until("the guest to be gone", SOON, || shown(account, "back", "web").is_none());
    db.stop();
}

/// What a host of one network has in another is explained from both, and from inside of it.
fn explained(account: &Account<'_>) {
    let reached = |arguments: &[&str], parts: &[&str]| {
        explain(account, arguments, 0, parts);
    };
    let guest = ["web has ", "✓ service", " from inside db: accepted"];
    reached(&["--network", "back", "--from", "db", "web:80"], &guest);
    reached(&["--network", "back", "web:80"], &["web has ", "✓ service", " from inside web: accepted"]);
    let host = ["db has ", "✓ service", " from inside web: accepted"];
    reached(&["--from", "web", "db:5432"], &host);
    reached(&["--from", "web", "db.back.internal:5432"], &host);
    reached(&["--network", "back", "--from", "web", "db:5432"], &host);
    let missing =
        explain(account, &["--network", "back", "--from", "db", "web:81"], 10, &["no program in web listens on 81"]);
    assert_eq!(printed_fix(&missing), "minato --network back explain web:80 --from db");
}

/// The services of both have names, and so have their addresses, in both directions.
fn names(account: &Account<'_>, [db_v4, db_v6]: [&str; 2], [web_v4, web_v6]: [&str; 2]) {
    let dig = |network: &str, host: &str, words: &str| {
        bash(account, network, host, &format!("dig +short +timeout=5 +tries=1 {words}")).stdout.trim().to_owned()
    };
    for (network, host, question, answer) in [
        ("default", "web", "db.back.internal A", db_v4),
        ("default", "web", "db.back.internal AAAA", db_v6),
        ("default", "web", "_postgresql._tcp.db.back.internal SRV", "0 0 5432 db.back.internal."),
        ("default", "web", "_postgresql._tcp.db SRV", "0 0 5432 db.back.internal."),
        ("default", "web", &format!("-x {db_v4}"), "db.back.internal."),
        ("default", "web", &format!("-x {db_v6}"), "db.back.internal."),
        ("default", "web", &format!("-x {web_v4}"), "web.back.internal."),
        ("back", "db", "web.back.internal A", web_v4),
        ("back", "db", "web.back.internal AAAA", web_v6),
        ("back", "db", "_http._tcp.web.back.internal SRV", "0 0 80 web.back.internal."),
        ("back", "db", "_http._tcp.web SRV", "0 0 80 web.back.internal."),
        ("back", "db", &format!("-x {web_v4}"), "web.back.internal."),
        ("back", "db", &format!("-x {web_v6}"), "web.back.internal."),
    ] {
        wait_until(&format!("{question} in {network}: {answer}"), SOON, || dig(network, host, question) == answer);
    }
}

#[test]
fn a_host_joins_a_second_network() {
    Machine::run(&["bash", "dig", "ip", "getent", "timeout"], |machine| two_networks(machine, &machine.user()));
}

#[test]
fn a_host_of_root_joins_a_second_network() {
    Machine::run(&["bash", "dig", "ip", "getent", "timeout"], |machine| two_networks(machine, &machine.root()));
}

#[test]
fn what_joined_a_network_that_is_killed_goes_on_without_it() {
    Machine::run(&["bash", "ip"], |machine| {
        let user = machine.user();
        // Joining is what makes it begin, and keeps it.
        let web = user.run(&["--name", "web", "--join", "back"], &machine.peer("line 80"));
        wait_until("the service", SOON, || Api::USER.port("web", 80).is_some());
        let has_second = || bash(&user, "default", "web", "ip -o link show eth1").status.success();
        assert!(has_second());
        let engine = |process: &crate::machine::Process| process.command.iter().any(|word| word == "back");
        let engine = machine.engines().into_iter().find(engine).expect("the other engine");
        engine.signal(rustix::process::Signal::KILL);
        wait_until("the interface to be gone", SOON, || !has_second());
        wait_until("a warning", SOON, || web.stderr().contains("network \"back\" has ended"));
        wait_until("a host of one network", SOON, || Api::USER.host("web").networks.is_empty());
        let asks = machine.peer(&format!("lines {}:80 1", Api::USER.host("web").address_v4));
        user.run(&["--name", "other"], &asks).finish().expect_success();

        // It joins again when there is a network of that name again.
        let db = user.run(&["--name", "db", "--network", "back"], &machine.peer("who 5432"));
        wait_until("to be in it again", SOON, || web.stderr().contains("host \"web\" is in network \"back\" again"));
        wait_for("the way there", SOON, || seen_at(&user, "default", "web", "db/5432"));
        let there =
            shown(&user, "back", "web").expect("a guest")["address_v4"].as_str().expect("an address").to_owned();
        let asks = machine.peer(&format!("lines {there}:80 1"));
        user.run(&["--name", "other", "--network", "back"], &asks).finish().expect_success();
        db.stop();
        wait_until("two engines", SOON, || machine.engines().len() == 2);
        web.stop();
        wait_until("the end of both", SOON, || machine.engines().is_empty());
    });
}

/// Looks up `db` again and again, connects to it over IPv4, and prints its address and what it says.
const LOOKING: &str = "import socket, time
while True:
    try:
        place = socket.getaddrinfo('db.back.internal', 5432, socket.AF_INET, socket.SOCK_STREAM)[0][4]
        s = socket.create_connection(place, timeout=1)
        print(place[0], 'saw', s.recv(100).decode().split(':')[0], flush=True)
    except OSError: pass
    time.sleep(0.1)
";

/// Whoever asks where a program's connections lead knows what its host has joined by now.
#[test]
fn a_direct_program_finds_a_network_that_has_begun_anew_elsewhere() {
    Machine::run(&["python3"], |machine| {
        let user = machine.user();
        let begin = |subnet: &str| {
            let flags = ["--name", "db", "--network", "back", "--subnet", subnet];
            let db = user.run(&flags, &machine.peer("who 5432"));
            wait_for("the host", SOON, || shown(&user, "back", "db"));
            db
        };
        let first = begin("10.99.3.0/24");
        let web = user.run(&["--name", "web", "--direct", "--join", "back"], &["python3", "-c", LOOKING]);
        // The last address of what it prints is its own there: a socket of the machine would have none.
        let found = |subnet: &str| web.stdout().contains(&format!("{subnet}.2 saw {subnet}."));
        wait_until("the way there", SOON, || found("10.99.3"));
        let engine = |process: &crate::machine::Process| process.command.iter().any(|word| word == "back");
        let engine = machine.engines().into_iter().find(engine).expect("the other engine");
        engine.signal(rustix::process::Signal::KILL);
        wait_until("a warning", SOON, || web.stderr().contains("network \"back\" has ended"));
        drop(first.finish());
        let second = begin("10.99.7.0/24");
        wait_until("to be in it again", SOON, || web.stderr().contains("host \"web\" is in network \"back\" again"));
        wait_until("the new way there", SOON, || found("10.99.7"));
        second.stop();
        web.stop();
        wait_until("the end of both", SOON, || machine.engines().is_empty());
    });
}
