//! Several hosts at once.

use crate::machine::{Machine, SOON, wait_for, wait_until};
use crate::support::api::Api;
use crate::support::{net, servers};

#[test]
fn two_hosts_serve_the_same_port_side_by_side() {
    Machine::run(&["nginx", "curl"], |machine| {
        let user = machine.user();
        let (one, two) = (machine.work().join("one"), machine.work().join("two"));
        let servers = [(&one, "page of one"), (&two, "page of two")]
            .map(|(directory, page)| servers::nginx_in(directory, 3000, page));
        let first = user.run(&["--name", "one", "-p", "3001:3000"], &servers[0].command);
        let second = user.run(&["--name", "two", "-p", "3002:3000"], &servers[1].command);

        let page = |address| wait_for("a page", SOON, || net::http_get(address, "/"));
        assert!(page("127.0.0.1:3001").ends_with("page of one"));
        assert!(page("127.0.0.1:3002").ends_with("page of two"));
        assert!(page("[::1]:3002").ends_with("page of two"));

        let (host_one, host_two) = (Api::USER.host("one"), Api::USER.host("two"));
        assert_ne!(host_one.address_v4, host_two.address_v4);
        let curl = |from, url: String| {
            user.exec(from, &["curl", "--silent", "--fail", "--max-time", "5", &url]).finish().expect_success().stdout
        };
        assert_eq!(curl("one", format!("http://{}:3000/", host_two.address_v4)), "page of two");
        assert_eq!(curl("two", format!("http://{}:3000/", host_one.address_v4)), "page of one");
        assert_eq!(curl("one", format!("http://[{}]:3000/", host_two.address_v6.expect("IPv6"))), "page of two");

        first.stop();
        wait_until("the first to be gone", SOON, || net::is_refused("127.0.0.1:3001"));
        assert!(page("127.0.0.1:3002").ends_with("page of two"), "the second must not notice");
        second.stop();
    });
}

#[test]
fn ps_names_hosts_and_their_processes() {
    Machine::run(&["nginx"], |machine| {
        let user = machine.user();
        let nginx = servers::nginx(machine, 80, "page");
        let run = user.run(&["--name", "web"], &nginx.command);
        wait_until("nginx to listen", SOON, || Api::USER.port("web", 80).is_some());
        let table = user.minato_finish(&["ps"]).expect_success().stdout;
        let row =
            table.lines().find(|line| line.starts_with("web")).unwrap_or_else(|| panic!("no row of web: {table}"));
        assert!(row.contains(&Api::USER.host("web").address_v4.to_string()), "{row}");
        assert!(table.contains("nginx"), "{table}");
        let json = user.minato_json(&["ps"]).to_string();
        assert!(json.contains("\"nginx\"") && json.contains("\"web\""), "{json}");
        run.stop();
    });
}

#[test]
fn flows_between_hosts_count_what_the_programs_sent() {
    Machine::run(&["bash"], |machine| {
        let user = machine.user();
        let server = user.run(&["--name", "server"], &machine.peer("line 80"));
        wait_until("the service", SOON, || Api::USER.port("server", 80).is_some());
        let address = Api::USER.host("server").address_v4;
        // No line ends, so the connection lasts.
        let script = format!("exec 3<>/dev/tcp/{address}/80; printf hello >&3; sleep 100");
        let client = user.run(&["--name", "client"], &["bash", "-c", &script]);
        let flow = wait_for("the flow", SOON, || {
            let flows: Vec<minato_inspect::Flow> = Api::USER.get("/v1/flows")?;
            flows.into_iter().find(|flow| flow.client.host.as_deref() == Some("client") && flow.bytes_in == Some(5))
        });
        assert_eq!(flow.bytes_out, Some(0));
        client.stop();
        server.stop();
    });
}
