//! The harness itself, without `minato`: if one of these fails, the others say nothing about the product.

use std::panic::catch_unwind;

use crate::machine::{Machine, OUTSIDE_V4, OUTSIDE_V6, SOON, leftovers, wait_until};
use crate::support::{net, servers};

#[test]
fn outside_is_reached_in_both_families() {
    Machine::run(&["ping"], |machine| {
        for address in [OUTSIDE_V4, OUTSIDE_V6] {
            machine.user().finish("ping", &["-c", "1", "-W", "2", address]).expect_success();
        }
    });
}

#[test]
fn a_process_left_behind_is_noticed() {
    Machine::run(&[], |machine| {
        let sleep = machine.user().start({
            let mut command = machine.user().command("sleep");
            command.arg("60");
            command
        });
        assert!(catch_unwind(leftovers::assert_none).is_err());
        drop(sleep);
    });
}

#[test]
fn the_servers_greet_without_minato() {
    Machine::run(&["apache2", "nginx", "vsftpd", "postfix"], |machine| {
        let root = machine.root();
        let configured = [
            servers::apache(machine, 80, "A"),
            servers::nginx(machine, 5050, "N"),
            servers::vsftpd(machine),
            servers::postfix(machine),
        ];
        let running = configured.map(|server| {
            let mut command = root.command(&server.command[0]);
            command.args(&server.command[1..]);
            root.start(command)
        });
        let page = |address| net::http_get(address, "/").is_some_and(|answer| answer.contains("200 OK"));
        wait_until("apache's page", SOON, || page("127.0.0.1:80"));
        wait_until("nginx's page", SOON, || page("[::1]:5050"));
        wait_until("vsftpd", SOON, || {
            net::greeting("127.0.0.1:21").is_some_and(|text| text.starts_with("220 minato test"))
        });
        wait_until("postfix", SOON, || {
            net::greeting("127.0.0.1:25").is_some_and(|text| text.starts_with("220 mail.test"))
        });
        for server in running {
            server.stop();
        }
    });
}
