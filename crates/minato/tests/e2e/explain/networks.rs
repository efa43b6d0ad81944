//! Ports and names of several hosts and networks: who has them, and everybody who may be meant.

use std::fs;
use std::net::TcpListener;

use super::{explain, run_fix, works};
use crate::machine::{Account, Machine, SOON, wait_for, wait_until};
use crate::support::api::Api;
use crate::support::net;

/// A network that a file has started, with a web server whose port 80 is at 9880, and whose port 9000 nobody serves.
fn shop(machine: &Machine, user: &Account<'_>) {
    let command = machine.peer("who 80").iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ");
    let file = format!(
        "network = \"shop\"\n[host.web]\ncommand = [{command}]\nports = {{ 80 = 9880, 9000 = 9890 }}\nready = 80\n"
    );
    fs::write(machine.work().join("minato.toml"), file).expect("a file");
    user.minato_finish(&["up", "-d"]).expect_success();
    // What is looked at is what is found without the file.
    fs::remove_file(machine.work().join("minato.toml")).expect("to remove it");
}

#[test]
fn the_network_that_has_the_port_is_asked() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        shop(machine, &user);
        let open = ["for web of network shop", "✓ service", "accepted"];
        explain(&user, &["9880"], 0, &open);
        explain(&user, &["127.0.0.1:9880"], 0, &open);
        let text = explain(&user, &["9890"], 12, &["✗ service", "leads to port 9000, but web listens on 80"]);
        // The same with a network of that name beside it.
        let beside = user.run(&["--name", "web", "-p", "8080:80"], &machine.peer("who 80"));
        wait_until("the service", SOON, || net::read_from("127.0.0.1:8080").is_some());
        explain(&user, &["8080"], 0, &["for web\n"]);
        assert_eq!(explain(&user, &["9890"], 12, &["✗ service"]), text);
        run_fix(&user, &text);
        works(&user, "9890", "127.0.0.1:9890");
        beside.stop();
        user.minato_finish(&["--network", "shop", "down"]).expect_success();
    });
}

#[test]
fn names_and_addresses_that_hosts_have_lead_to_their_network() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        shop(machine, &user);
        let one = user.run(&["--name", "one"], &machine.peer("who 3000"));
        wait_until("the service", SOON, || Api::USER.port("one", 3000).is_some());
        for name in ["ONE:3000", "one.default.internal:3000", "One.Default.Internal:3000"] {
            explain(&user, &[name], 0, &["✓ host", "one has ", "accepted"]);
        }
        explain(&user, &["web.shop.internal:80"], 0, &["✓ host", "web has "]);
        explain(&user, &["db.shop.internal:80"], 10, &["there is no host 'db'", "minato --network shop run --name db"]);
        explain(
            &user,
            &["db.none.internal:80"],
            10,
            &["network 'none' is not running (default, shop: running)", "minato --network none run --name db"],
        );
        let hosts = user.minato_json(&["--network", "shop", "ps"]);
        let address = |key: &str| hosts["hosts"][0][key].as_str().expect("an address").to_owned();
        let fix = "minato --network shop explain 127.0.0.1:9880";
        explain(&user, &[&format!("{}:80", address("address_v4"))], 11, &["only hosts have", fix]);
        explain(
            &user,
            &[&format!("{}:9999", address("loopback_v4"))],
            10,
            &["nothing in web, whose own address it is"],
        );

        // A service is at its host's own address, too.
        let own = Api::USER.host("one").loopback_v4.expect("a loopback address");
        wait_until("the own address", SOON, || net::read_from(&format!("{own}:3000")).is_some());
        explain(&user, &["one:3000"], 0, &["✓ forward", &format!("this machine reaches it at {own}:3000")]);
        one.stop();
        user.minato_finish(&["--network", "shop", "down"]).expect_success();
    });
}

#[test]
fn everybody_who_serves_a_port_is_named() {
    Machine::run(&[], |machine| {
        let user = machine.user();
        let one = user.run(&["--name", "one"], &machine.peer("who 3000"));
        let two = user.run(&["--name", "two"], &machine.peer("who 127.0.0.1:3000"));
        let far = user.run(&["--network", "far", "--name", "three"], &machine.peer("who 3000"));
        let all = ["one and two and three of network far serve the port", "FIX  minato forward add -p 3000:3000 two"];
        let text = wait_for("all of them", SOON, || {
            let text = user.minato_finish(&["explain", "3000"]).stdout;
            all.iter().all(|part| text.contains(part)).then_some(text)
        });
        assert!(text.contains("FIX  minato --network far forward add -p 3000:3000 three"), "{text}");
        run_fix(&user, &text);
        works(&user, "3000", "127.0.0.1:3000");
        explain(&user, &["3000"], 0, &["held by minato, for one\n"]);

        // The number is somebody else's at the own address of one of them only.
        let own = Api::USER.host("one").loopback_v4.expect("a loopback address");
        let stranger = TcpListener::bind((own, 4000)).expect("a port");
        let late = user.exec("one", &machine.peer("who 4000"));
        wait_until("the service", SOON, || Api::USER.port("one", 4000).is_some());
        let place = format!("{own}:4000");
        let text = explain(&user, &[&place], 16, &[&format!("{own} is the own address of one, but")]);
        run_fix(&user, &text);
        wait_until("the way that was proposed", SOON, || net::read_from("127.0.0.1:4001").is_some());
        drop(stranger);
        for program in [late, far, two, one] {
            program.stop();
        }
    });
}
