//! Bad requests get a problem and change nothing.

use std::fs;
use std::os::unix::fs::MetadataExt;

use minato_inspect::{HostRequest, Network, ProblemKind};
use serde_json::json;

use crate::engine::Engine;

pub(crate) fn the_socket_is_private() {
    let engine = Engine::start();
    let session = engine.client().named("web");
    let mode = |path: std::path::PathBuf| fs::metadata(path).expect("it exists").mode() & 0o777;
    assert_eq!(mode(engine.directory()), 0o700);
    assert_eq!(mode(engine.directory().join("api.sock")), 0o600);
    let network: Network = engine.client().get("/v1/network");
    assert_eq!((network.engine_pid, network.mtu), (std::process::id(), 1500));
    drop(session);
    engine.ends();
}

pub(crate) fn what_does_not_exist_is_a_problem() {
    let engine = Engine::start();
    let client = engine.client();
    let session = client.named("web");
    for (method, path, status) in [
        ("GET", "/", 404),
        ("GET", "/v2/hosts", 404),
        ("GET", "/v1/hosts/nobody", 404),
        ("POST", "/v1/hosts/nobody/sessions", 404),
        ("DELETE", "/v1/sessions/999", 404),
        ("DELETE", "/v1/sessions/many", 404),
        ("PUT", "/v1/hosts", 405),
        ("DELETE", "/v1/network", 405),
        ("PATCH", "/v1/forwards", 405),
        ("GET", "/v1/hosts/%ff", 400),
        ("DELETE", "/v1/sessions/%ff", 400),
        ("POST", "/v1/hosts/web/dial?client=127.0.0.1:5&prot=80", 400),
    ] {
        let problem = client.request(method, path, b"{}").problem();
        assert_eq!(problem.status, status, "{method} {path}: {}", problem.title);
    }
    drop(session);
    engine.ends();
}

pub(crate) fn nonsense_is_refused_and_changes_nothing() {
    let engine = Engine::start();
    let client = engine.client();
    let session = client.named("web");
    let before = client.request("GET", "/v1/forwards", b"").body;

    for body in ["", "{", "[]", "null", "{\"name\": 7}", "\u{0}", "{\"forwards\": [{}]}"] {
        let problem = client.request("POST", "/v1/hosts", body.as_bytes()).problem();
        assert_eq!((problem.kind, problem.status), (ProblemKind::Usage, 400), "{body:?}");
    }
    let forward = |host: (u16, u16), service: (u16, u16)| json!({"host_ports": [host.0, host.1], "service_ports": [service.0, service.1], "transport": "tcp", "address": null});
    for request in [
        json!({"name": "Not_A_Name!"}),
        json!({"name": "../../etc"}),
        json!({"name": ""}),
        json!({"ephemeral_range": [60000, 50000]}),
        json!({"ephemeral_range": [0, 50000]}),
        json!({"host_ports": [0]}),
        json!({"policy": {"default": "shut"}}),
        json!({"policy": {"allow": ["example.com"]}}),
        json!({"policy": {"default": "deny", "allow": ["example.com:0"]}}),
        json!({"policy": {"deny": ["example.com"]}}),
        json!({"policy": {"deny": ["dns"]}}),
        json!({"policy": {"default": "deny", "allow": vec!["dns"; 1001]}}),
        json!({"forwards": [forward((0, 0), (80, 80))]}),
        json!({"forwards": [forward((80, 81), (80, 80))]}),
        json!({"forwards": [forward((9000, 9010), (1, 11)), forward((9005, 9005), (80, 80))]}),
    ] {
        let problem = client.refusal("POST", "/v1/hosts", &request);
        assert_eq!((problem.kind, problem.status), (ProblemKind::Usage, 400), "{request}");
    }
    let problem = client.request("POST", "/v1/hosts", &vec![b' '; 2 << 20]).problem();
    assert_eq!(problem.status, 413);

    assert_eq!(client.hosts().len(), 1);
    assert_eq!(client.request("GET", "/v1/forwards", b"").body, before);
    drop(session);
    engine.ends();
}

pub(crate) fn a_second_engine_is_refused() {
    let engine = Engine::start();
    let session = engine.client().open(&HostRequest::default());
    let refusal = minato_engine::run(engine.options()).expect_err("one is running");
    assert_eq!(refusal.0.kind, ProblemKind::Conflict);
    assert_eq!(engine.client().hosts().len(), 1, "the first one goes on");
    drop(session);
    engine.ends();
}
