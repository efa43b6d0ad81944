//! The server against its description, `docs/openapi.json`.

mod document;

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::client::{Answer, Client, chunk};
use crate::engine::{Engine, wait_until};
use crate::forwards::{listen_inside, open, spec};
pub(crate) use document::Document;

/// Requests that succeed, in this order, as method, path of the file, real path and body. The network has a host `web`
/// with a listener on port 80, a forward to it and a connection through that.
const GOOD: &[(&str, &str, &str, &str)] = &[
    ("GET", "/v1/openapi.json", "/v1/openapi.json", ""),
    ("GET", "/v1/network", "/v1/network", ""),
    ("GET", "/v1/hosts", "/v1/hosts", ""),
    ("GET", "/v1/hosts/{name}", "/v1/hosts/web", ""),
    ("GET", "/v1/hosts/{name}/egress", "/v1/hosts/web/egress?to=192.0.2.1&port=443&transport=udp", ""),
    ("GET", "/v1/ports", "/v1/ports", ""),
    ("GET", "/v1/flows", "/v1/flows", ""),
    ("POST", "/v1/forwards", "/v1/forwards", ADDED),
    ("GET", "/v1/forwards", "/v1/forwards", ""),
    ("DELETE", "/v1/forwards", "/v1/forwards", ADDED),
];
const ADDED: &str = r#"{"host": "web", "forwards": [
    {"address": "127.0.0.1", "host_ports": [9501, 9503], "service_ports": [1, 3], "transport": "tcp"},
    {"host_ports": [9501, 9501], "service_ports": [53, 53], "transport": "udp"}]}"#;

pub(crate) fn every_operation_answers_as_documented() {
    let engine = Engine::start();
    let client = engine.client();
    let mut document = Document::of(&client.request("GET", "/v1/openapi.json", b""));
    let session = open(&client, "web", vec![spec(9500, 80)]);
    let listener = listen_inside(&session, "0.0.0.0:80");
    wait_until("the forward", || TcpStream::connect(("127.0.0.1", 9500)).is_ok());
    let through = TcpStream::connect(("127.0.0.1", 9500)).expect("open");

    for (method, path, real, body) in GOOD {
        let answer = client.request(method, real, body.as_bytes());
        assert_eq!(answer.status, 200, "{method} {real}");
        assert!(answer.body.len() > 2, "{method} {real}: an empty answer proves nothing");
        document.judge(method, path, &answer);
    }
    for (path, real) in
        [("/v1/hosts", "/v1/hosts"), ("/v1/hosts/{name}/sessions", "/v1/hosts/web/sessions"), ("/v1/stay", "/v1/stay")]
    {
        let (answer, reader) = client.stream("POST", real, br#"{"command": ["true"]}"#);
        document.judge("POST", path, &answer);
        let opened: Value = serde_json::from_slice(&answer.body).expect("JSON");
        let ended = client.request("DELETE", &format!("/v1/sessions/{}", opened["session"]), b"");
        document.judge("DELETE", "/v1/sessions/{id}", &ended);
        drop(reader);
    }
    // A guest from a network that happens to be the same one.
    let (answer, second) = client.stream("POST", "/v1/hosts/web/sessions", b"{}");
    let opened: Value = serde_json::from_slice(&answer.body).expect("JSON");
    let guest = json!({"name": "guest", "home": "other", "namespace": opened["enter"]["network"], "interface": 1,
        "ephemeral_range": [49152, 65535]});
    let (answer, place) = client.stream("POST", "/v1/guests", guest.to_string().as_bytes());
    document.judge("POST", "/v1/guests", &answer);
    let offers = client.request("PUT", "/v1/guests/guest/offers", br#"{"tcp": [80], "udp": []}"#);
    document.judge("PUT", "/v1/guests/{name}/offers", &offers);
    drop((place, second));
    let (status, socket) = client.descriptor("/v1/hosts/web/packets");
    document.judge_upgrade("GET", "/v1/hosts/{name}/packets", status);
    assert_eq!(rustix::net::sockopt::socket_domain(&socket).expect("a socket"), rustix::net::AddressFamily::PACKET);
    drop(socket);
    let (status, mut binds) =
        client.upgraded("POST", &format!("/v1/sessions/{}/binds", session.id.0), "minato-descriptor");
    document.judge_upgrade("POST", "/v1/sessions/{id}/binds", status);
    let mut ready = [0];
    binds.read_exact(&mut ready).expect("the engine is ready");
    drop(binds);
    let (status, mut stream) = client.upgraded("POST", "/v1/hosts/web/dial?client=127.0.0.1:4711", "tcp");
    document.judge_upgrade("POST", "/v1/hosts/{name}/dial", status);
    // Those that came through the forward wait to be accepted too, one of them closed.
    let (mut service, seen_as) = std::iter::repeat_with(|| listener.accept().expect("a connection"))
        .find(|(service, _)| !came_through(service, &through))
        .expect("there is always a next one");
    assert_eq!(
        seen_as.ip().to_string(),
        client.get::<Value>("/v1/network")["gateway_v4"].as_str().expect("an address")
    );
    service.write_all(b"hello").expect("to send");
    let mut hello = [0; 5];
    stream.read_exact(&mut hello).expect("what the service sent");
    assert_eq!(&hello, b"hello");
    let flows: Value = client.get("/v1/flows");
    let is_shown = |flow: &Value| flow["client"]["port"] == 4711 && flow["server"]["host"] == "web";
    assert!(flows.as_array().expect("a list").iter().any(is_shown), "{flows}");
    drop((stream, service));
    let (status, content_type, mut events) = client.open_stream("/v1/events");
    let other = client.named("other");
    let body = chunk(&mut events).expect("an event");
    document.judge("GET", "/v1/events", &Answer { status, content_type, body });
    drop((events, other));
    assert_eq!(document.unproven(), [], "operations of the file that this test does not show");
    drop((through, listener, session));
    engine.ends();
}

/// Bodies that are none of the API's.
const NONSENSE: &[&str] =
    &["", "{", "[]", "null", "17", "\"web\"", "{} {}", "{\"hots\": \"web\"}", "\u{0}", "{\"command\": \"sh\"}"];

pub(crate) fn bad_requests_change_nothing() {
    let engine = Engine::start();
    let client = engine.client();
    let mut document = Document::of(&client.request("GET", "/v1/openapi.json", b""));
    let session = open(&client, "web", vec![spec(9600, 80)]);
    let before = everything(&client);

    for (method, path, real) in [
        ("POST", "/v1/hosts", "/v1/hosts"),
        ("POST", "/v1/hosts/{name}/sessions", "/v1/hosts/web/sessions"),
        ("POST", "/v1/forwards", "/v1/forwards"),
        ("DELETE", "/v1/forwards", "/v1/forwards"),
    ] {
        for body in NONSENSE {
            let answer = client.request(method, real, body.as_bytes());
            assert_eq!(answer.problem().status, 400, "{method} {real} {body:?}");
            document.judge(method, path, &answer);
        }
        let answer = client.request(method, real, &vec![b' '; (1 << 20) + 1]);
        assert_eq!(answer.problem().status, 413, "{method} {real}");
        document.judge(method, path, &answer);
    }
    for (method, path, real, body, status) in refused() {
        let answer = client.request(method, &real, body.to_string().as_bytes());
        assert_eq!(answer.problem().status, status, "{method} {real} {body}");
        document.judge(method, path, &answer);
    }
    for (method, path) in document.operations() {
        let real = path.replace("{name}", "web").replace("{id}", "1");
        let answer = client.request("PATCH", &real, b"{}").problem();
        assert_eq!(answer.status, 405, "PATCH instead of {method} {real}");
    }
    assert_eq!(everything(&client), before);
    drop(session);
    engine.ends();
}

/// Whether a connection is one of those through the forward: it is closed, or gets what the open one sends.
fn came_through(service: &TcpStream, mut open: &TcpStream) -> bool {
    open.write_all(b"?").expect("to send");
    service.set_read_timeout(Some(std::time::Duration::from_millis(500))).expect("a timeout");
    (&mut &*service).read(&mut [0; 64]).is_ok()
}

/// Requests that are well formed and impossible, with the status that they get.
fn refused() -> Vec<(&'static str, &'static str, String, Value, u16)> {
    let forward = |address: Option<&str>, port: u16| json!({"address": address, "host_ports": [port, port], "service_ports": [80, 80], "transport": "tcp"});
    let to = |host: &str, forwards: Vec<Value>| json!({"host": host, "forwards": forwards});
    let misspelt =
        json!({"adress": "0.0.0.0", "host_ports": [9601, 9601], "service_ports": [80, 80], "transport": "tcp"});
    let guest = |name: &str, namespace: &str| json!({"name": name, "home": "other", "namespace": namespace, "interface": 1, "ephemeral_range": [1, 2]});
    let at = |path: &str| path.to_owned();
    vec![
        ("GET", "/v1/hosts/{name}", at("/v1/hosts/nobody"), json!(null), 404),
        ("GET", "/v1/hosts/{name}", at("/v1/hosts/..%2fweb"), json!(null), 404),
        ("POST", "/v1/hosts/{name}/sessions", at("/v1/hosts/nobody/sessions"), json!({}), 404),
        ("GET", "/v1/hosts/{name}/packets", at("/v1/hosts/web/packets"), json!(null), 426),
        ("POST", "/v1/sessions/{id}/binds", at("/v1/sessions/1/binds"), json!(null), 426),
        ("GET", "/v1/hosts/{name}/egress", at("/v1/hosts/web/egress"), json!(null), 400),
        ("GET", "/v1/hosts/{name}/egress", at("/v1/hosts/web/egress?to=a.test&port=0"), json!(null), 400),
        ("GET", "/v1/hosts/{name}/egress", at("/v1/hosts/nobody/egress?to=a.test"), json!(null), 404),
        ("POST", "/v1/hosts/{name}/dial", at("/v1/hosts/web/dial?port=80&client=127.0.0.1:5"), json!(null), 426),
        ("POST", "/v1/hosts/{name}/dial", at("/v1/hosts/web/dial?port=80"), json!(null), 400),
        ("PUT", "/v1/guests/{name}/offers", at("/v1/guests/web/offers"), json!({"tcp": [], "udp": []}), 404),
        ("PUT", "/v1/guests/{name}/offers", at("/v1/guests/web/offers"), json!({"tcp": [65536], "udp": []}), 400),
        ("DELETE", "/v1/sessions/{id}", at("/v1/sessions/4711"), json!(null), 404),
        ("DELETE", "/v1/sessions/{id}", at("/v1/sessions/-1"), json!(null), 404),
        ("POST", "/v1/hosts", at("/v1/hosts"), json!({"name": "web"}), 409),
        ("POST", "/v1/hosts", at("/v1/hosts"), json!({"name": "Web!"}), 400),
        ("POST", "/v1/hosts", at("/v1/hosts"), json!({"subnet": "10.99.3.0/24"}), 409),
        ("POST", "/v1/hosts", at("/v1/hosts"), json!({"subnet": "10.99.3.7/24"}), 400),
        ("POST", "/v1/stay", at("/v1/stay?subnet=10.99.3.0/24"), json!(null), 409),
        ("POST", "/v1/hosts", at("/v1/hosts"), json!({"networks": ["nowhere"]}), 404),
        ("POST", "/v1/hosts", at("/v1/hosts"), json!({"networks": ["a", "a"]}), 400),
        ("POST", "/v1/guests", at("/v1/guests"), guest("web", "/proc/1/fd/3"), 409),
        ("POST", "/v1/guests", at("/v1/guests"), guest("other", "/etc/passwd"), 400),
        (
            "POST",
            "/v1/hosts",
            at("/v1/hosts"),
            json!({"name": "new", "forwards": [forward(None, 9601), forward(None, 9600)]}),
            409,
        ),
        ("POST", "/v1/hosts", at("/v1/hosts"), json!({"forwards": [misspelt.clone()]}), 400),
        ("POST", "/v1/forwards", at("/v1/forwards"), to("nobody", vec![forward(None, 9601)]), 404),
        ("POST", "/v1/forwards", at("/v1/forwards"), to("web", vec![misspelt]), 400),
        ("POST", "/v1/forwards", at("/v1/forwards"), to("web", vec![forward(None, 9601), forward(None, 0)]), 400),
        ("POST", "/v1/forwards", at("/v1/forwards"), to("web", vec![forward(None, 9601), forward(None, 9601)]), 400),
        (
            "POST",
            "/v1/forwards",
            at("/v1/forwards"),
            to("web", vec![forward(None, 9601), forward(Some("127.0.0.1"), 9600)]),
            409,
        ),
        (
            "POST",
            "/v1/forwards",
            at("/v1/forwards"),
            to("web", vec![forward(None, 9601), forward(Some("203.0.113.5"), 9601)]),
            422,
        ),
        ("DELETE", "/v1/forwards", at("/v1/forwards"), to("web", vec![forward(None, 9600), forward(None, 9601)]), 404),
        ("DELETE", "/v1/forwards", at("/v1/forwards"), to("nobody", vec![forward(None, 9600)]), 404),
    ]
}

/// All that the engine shows, apart from ages.
fn everything(client: &Client) -> Vec<Value> {
    let mut all: Vec<Value> =
        ["/v1/network", "/v1/hosts", "/v1/ports", "/v1/flows", "/v1/forwards"].map(|path| client.get(path)).into();
    all.iter_mut().for_each(without_ages);
    all
}

fn without_ages(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.remove("age_seconds");
            map.values_mut().for_each(without_ages);
        }
        Value::Array(list) => list.iter_mut().for_each(without_ages),
        _ => {}
    }
}
