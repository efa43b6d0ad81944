//! `minato watch` tells what happens.

use minato_inspect::{Event, Happening};

use crate::machine::{Machine, SOON, wait_for};
use crate::support::api::Api;
use crate::support::watching::watch;
use crate::support::{net, servers};

#[test]
fn watch_tells_what_happens_to_programs_ports_and_flows() {
    Machine::run(&["nginx", "curl"], |machine| {
        let user = machine.user();
        user.minato_finish(&["watch"]).expect_code(10).expect_stderr(&["no network 'default' is running"]);

        let keeper = user.run(&["--name", "keeper"], &["sleep", "100"]);
        Api::USER.host("keeper");
        let [lines, json, of_keeper] =
            [&[][..], &["--json"], &["keeper", "--json"]].map(|arguments| watch(&user, "keeper", arguments));
        let nginx = servers::nginx(machine, 80, "page");
        let web = user.run(&["--name", "web", "-p", "8080:80"], &nginx.command);
        wait_for("a page", SOON, || net::http_get("127.0.0.1:8080", "/"));
        user.minato_finish(&["forward", "add", "-p", "8081:80", "web"]).expect_success();
        // Between hosts, and long enough to be seen.
        let url = format!("telnet://{}:80", Api::USER.host("web").address_v4);
        let between = user.exec("keeper", &["curl", "--silent", "--max-time", "1", &url]);
        between.finish();
        web.stop();
        keeper.stop();

        let text = lines.finish().expect_success().stdout;
        for part in [
            "host     web started: 10.77.0.",
            "forward  8080:80 of web added",
            "bind     web * (v4) 80/tcp http: nginx",
            "listen   web * (v4) 80/tcp http: nginx",
            "forward  8080:80 of web open",
            "forward  8081:80 of web added",
            "release  web * (v4) 80/tcp http: nginx",
            "host     web ended",
            "host     keeper ended",
            "engine   stopping: its last host has ended",
        ] {
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
        let events = events(&json.finish().expect_success().stdout);
        let flows: Vec<_> = events.iter().filter_map(started).collect();
        assert!(flows.iter().any(|flow| flow.server.port == 80 && flow.forward.is_some()), "{flows:#?}");
        let is_between = |flow: &&minato_inspect::Flow| flow.client.host.as_deref() == Some("keeper");
        let between = flows.iter().copied().find(is_between).unwrap_or_else(|| panic!("not between hosts: {flows:#?}"));
        assert_eq!(between.client.process.as_ref().map(|process| process.name.as_str()), Some("curl"));
        assert_eq!(between.server.host.as_deref(), Some("web"));

        let told = self::events(&of_keeper.finish().expect_success().stdout);
        assert!(!told.iter().any(|event| matches!(event.what, Happening::Listen(_))), "{told:#?}");
        assert!(told.iter().any(|event| event.what == Happening::HostEnded { host: "keeper".into() }));
    });
}

fn events(text: &str) -> Vec<Event> {
    let parse = |line: &str| {
        let mut value: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        assert_eq!(value["version"], 1);
        serde_json::from_value(value["event"].take()).expect("an event")
    };
    text.lines().map(parse).collect()
}

fn started(event: &Event) -> Option<&minato_inspect::Flow> {
    match &event.what {
        Happening::FlowStarted { flow, .. } => Some(flow),
        _ => None,
    }
}
