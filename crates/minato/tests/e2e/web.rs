//! A real web server on a port of its own address, seen through a forward.

use std::fs;

use crate::machine::{MACHINE_V4, Machine, OUTSIDE_V4, SOON, wait_for, wait_until};
use crate::support::{net, servers};

#[test]
fn apache_on_port_80_is_reached_through_a_forward() {
    Machine::run(&["apache2", "curl"], |machine| {
        let user = machine.user();
        let apache = servers::apache(machine, 80, "It works on 80");
        let run = user.run(&["--name", "web", "-p", "8080:80"], &apache.command);
        wait_until("apache to answer", SOON, || net::http_get("127.0.0.1:8080", "/").is_some());

        let curl =
            user.finish("curl", &["--silent", "--show-error", "--fail", "http://127.0.0.1:8080/"]).expect_success();
        assert_eq!(curl.stdout, "It works on 80");
        user.finish("curl", &["--silent", "--fail", "http://[::1]:8080/"]).expect_success();

        let ports = user.minato_finish(&["ports"]).expect_success().stdout;
        let row =
            ports.lines().find(|line| line.starts_with("web ")).unwrap_or_else(|| panic!("no row of web: {ports}"));
        for part in ["80/tcp", "well-known", "http", "apache2", "127.0.0.1:8080"] {
            assert!(row.contains(part), "no {part} in: {row}");
        }
        // apache may run any code for SIGTERM; with -X it ends by the signal or with 0.
        run.stop();
        wait_until("the forward to be gone", SOON, || net::is_refused("127.0.0.1:8080"));
    });
}

#[test]
fn the_access_log_has_the_real_client_address() {
    Machine::run(&["apache2"], |machine| {
        let apache = servers::apache(machine, 80, "page");
        let run = machine.user().run(&["--name", "web", "-p", "0.0.0.0:8080:80"], &apache.command);
        let address = format!("{MACHINE_V4}:8080");
        wait_until("apache to answer", SOON, || net::http_get(&address, "/").is_some());

        let local = machine.outside(move || {
            let stream = net::connect(&address).expect("to connect from outside");
            let local = stream.local_addr().expect("an address");
            std::io::Write::write_all(&mut (&stream), b"GET /outside HTTP/1.0\r\n\r\n").expect("to send");
            crate::support::peer::read_all(stream);
            local
        });
        assert_eq!(local.ip().to_string(), OUTSIDE_V4);
        let line = wait_for("the request in the access log", SOON, || {
            let log = fs::read_to_string(&apache.access_log).ok()?;
            log.lines().find(|line| line.contains("/outside")).map(str::to_owned)
        });
        assert!(line.starts_with(&format!("{} {} ", local.ip(), local.port())), "{line}");
        run.stop();
    });
}

#[test]
fn nginx_on_port_5050_is_reached_through_a_forward() {
    Machine::run(&["nginx"], |machine| {
        let user = machine.user();
        let nginx = servers::nginx(machine, 5050, "It works on 5050");
        let run = user.run(&["--name", "web", "-p", "5050:5050"], &nginx.command);
        let answer = wait_for("nginx to answer", SOON, || net::http_get("127.0.0.1:5050", "/"));
        assert!(answer.ends_with("It works on 5050"), "{answer}");
        let ports = user.minato_finish(&["ports"]).expect_success().stdout;
        let row =
            ports.lines().find(|line| line.starts_with("web ")).unwrap_or_else(|| panic!("no row of web: {ports}"));
        for part in ["5050/tcp", "registered", "nginx", "127.0.0.1:5050"] {
            assert!(row.contains(part), "no {part} in: {row}");
        }
        run.stop();
    });
}
