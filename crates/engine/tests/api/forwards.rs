//! Forwards: held all or none, open while the service listens, gone with their host.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use minato_inspect::{
    Forward, ForwardRequest, ForwardSpec, ForwardState, HostRequest, PortRow, ProblemKind, Transport,
};

use crate::client::{Client, Session};
use crate::engine::{Engine, wait_until};

pub(crate) fn spec(host: u16, service: u16) -> ForwardSpec {
    range(host, service, 1)
}

fn range(host: u16, service: u16, count: u16) -> ForwardSpec {
    ForwardSpec {
        address: None,
        host_ports: (host, host + count - 1),
        service_ports: (service, service + count - 1),
        transport: Transport::Tcp,
    }
}

fn request(host: &str, forwards: Vec<ForwardSpec>) -> ForwardRequest {
    ForwardRequest { host: host.into(), forwards }
}

pub(crate) fn open(client: &Client, name: &str, forwards: Vec<ForwardSpec>) -> Session {
    client.open(&HostRequest { name: Some(name.into()), forwards, ..HostRequest::default() })
}

fn is_free(port: u16) -> bool {
    ["127.0.0.1", "::1"].iter().all(|address| TcpListener::bind((*address, port)).is_ok())
}

fn is_refused(port: u16) -> bool {
    let refused = |error: std::io::Error| error.kind() == std::io::ErrorKind::ConnectionRefused;
    TcpStream::connect(("127.0.0.1", port)).is_err_and(refused)
}

/// A listener inside the host of a session.
pub(crate) fn listen_inside(session: &Session, address: &str) -> TcpListener {
    let address: SocketAddr = address.parse().expect("an address");
    inside(session, move || TcpListener::bind(address).expect("to listen"))
}

/// What somebody does inside the host of a session: a thread goes there and comes not back.
pub(crate) fn inside<T: Send + 'static>(session: &Session, work: impl FnOnce() -> T + Send + 'static) -> T {
    let network = std::fs::File::open(&session.enter.network).expect("the host's namespace");
    let enter = move || {
        let kind = rustix::thread::LinkNameSpaceType::Network;
        rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&network), Some(kind)).expect("to enter");
        work()
    };
    std::thread::spawn(enter).join().expect("no panic")
}

pub(crate) fn forwards_follow_their_service() {
    let engine = Engine::start();
    let client = engine.client();
    let session = open(&client, "web", vec![spec(8101, 80)]);
    assert!(is_refused(8101) && !is_free(8101), "held, and refused");

    // The kernel tells that a listener is gone; a busy machine may take longer to hear of one of them.
    let mut quickest = Duration::MAX;
    for bound in ["0.0.0.0:80", "127.0.0.1:80", "[::]:80", "[::1]:80"] {
        let listener = listen_inside(&session, bound);
        for address in ["127.0.0.1", "::1"] {
            let mut stream = None;
            wait_until("the forward to open", || {
                stream = TcpStream::connect((address, 8101)).ok();
                stream.is_some()
            });
            let mut stream = stream.expect("connected");
            let (mut inside, seen) = listener.accept().expect("a connection");
            if !bound.contains("127.0.0.1") && !bound.contains("::1") {
                assert!(seen.port() >= 49152, "{seen} has no ephemeral port");
            }
            stream.write_all(b"ping").expect("to send");
            let mut buffer = [0; 4];
            inside.read_exact(&mut buffer).expect("to receive");
            inside.write_all(b"pong").expect("to answer");
            drop(inside);
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("an answer and its end");
            assert_eq!((buffer, answer.as_str()), (*b"ping", "pong"));
        }
        let rows: Vec<PortRow> = client.get("/v1/ports");
        assert_eq!(rows.iter().filter(|row| row.port == 80 && row.listening).count(), 1, "{rows:?}");
        let start = Instant::now();
        drop(listener);
        wait_until("refusal", || is_refused(8101));
        quickest = quickest.min(start.elapsed());
        wait_until("refusal of IPv6", || TcpStream::connect(("::1", 8101)).is_err());
        assert!(!is_free(8101));
    }
    assert!(quickest < Duration::from_millis(100), "refused only after {quickest:?}");
    let forwards: Vec<Forward> = client.get("/v1/forwards");
    let counters: Vec<_> =
        forwards.iter().map(|one| (one.state, one.connections, one.bytes_in, one.bytes_out)).collect();
    assert!(
        counters.iter().all(|one| one.0 == ForwardState::Held && one.1 >= 4 && one.2 == 16 && one.3 == 16),
        "{counters:?}"
    );
    client.end(&session);
    assert!(is_free(8101));
    engine.ends();
}

pub(crate) fn forwards_are_held_all_or_none() {
    let engine = Engine::start();
    let client = engine.client();
    let session = open(&client, "web", vec![spec(8201, 80)]);
    let ours = TcpListener::bind("127.0.0.1:8204").expect("a port");

    let taken = client.refusal("POST", "/v1/forwards", &request("web", vec![range(8202, 1, 4)]));
    assert_eq!(taken.kind, ProblemKind::Conflict);
    let holder = taken.holder.expect("a holder");
    assert_eq!((holder.port, holder.processes[0].pid), (8204, std::process::id()));
    assert!(taken.fixes.last().is_some_and(|fix| fix.contains("8205")), "{:?}", taken.fixes);
    assert!(is_free(8202) && is_free(8203) && is_free(8205));

    let other = HostRequest { name: Some("other".into()), forwards: vec![spec(8201, 80)], ..HostRequest::default() };
    let taken = client.refusal("POST", "/v1/hosts", &other);
    assert_eq!((taken.kind, taken.holder.expect("a holder").host.as_deref()), (ProblemKind::Conflict, Some("web")));
    assert_eq!(client.hosts().len(), 1);

    let nowhere = ForwardSpec { address: Some("203.0.113.5".parse().expect("an address")), ..spec(8206, 80) };
    let refused = client.refusal("POST", "/v1/forwards", &request("web", vec![spec(8207, 80), nowhere]));
    assert_eq!(refused.kind, ProblemKind::WrongAddress);
    assert!(is_free(8207));
    let missing = client.refusal("DELETE", "/v1/forwards", &request("web", vec![spec(8201, 80), spec(8208, 80)]));
    assert_eq!(missing.kind, ProblemKind::NotFound);
    assert!(!is_free(8201), "nothing was removed");
    drop((ours, session));
    engine.ends();
}

pub(crate) fn forwards_come_and_go() {
    let engine = Engine::start();
    let client = engine.client();
    let session = client.named("web");
    let listener = listen_inside(&session, "0.0.0.0:80");
    let added: Vec<Forward> = client.json("POST", "/v1/forwards", &request("web", vec![spec(8301, 80)]));
    assert_eq!(added.len(), 2);
    wait_until("the forward to open", || TcpStream::connect(("127.0.0.1", 8301)).is_ok());
    let mut stream = TcpStream::connect(("127.0.0.1", 8301)).expect("open");
    let host: minato_inspect::Host = client.get("/v1/hosts/web");
    assert_eq!(host.forwards, [spec(8301, 80)]);

    let second: Vec<Forward> = client.json("POST", "/v1/forwards", &request("web", vec![range(8302, 81, 10)]));
    let removed: Vec<Forward> = client.json("DELETE", "/v1/forwards", &request("web", vec![range(8302, 81, 10)]));
    assert_eq!((second.len(), removed.len()), (20, 20));
    assert!(is_free(8302));
    stream.write_all(b"still").expect("another forward's connection is untouched");

    let _: Vec<Forward> = client.json("DELETE", "/v1/forwards", &request("web", vec![spec(8301, 80)]));
    assert!(is_free(8301), "free at once, also with connections");
    let reset = stream.read(&mut [0; 8]).map_err(|error| error.kind());
    assert_eq!(reset, Err(std::io::ErrorKind::ConnectionReset));
    drop((listener, session));
    engine.ends();
}

/// Both ways at once, in pieces of every size, to receivers that pause: so buffers fill up in the middle of messages.
pub(crate) fn bulk_passes_whole_and_in_order() {
    let engine = Engine::start();
    let client = engine.client();
    let session = open(&client, "web", vec![spec(8401, 80)]);
    let listener = listen_inside(&session, "0.0.0.0:80");
    wait_until("the forward to open", || TcpStream::connect(("127.0.0.1", 8401)).is_ok());
    let mut outer = TcpStream::connect(("127.0.0.1", 8401)).expect("open");
    outer.write_all(b"!").expect("to send");
    // The attempt before sent nothing.
    let inner = std::iter::repeat_with(|| listener.accept().expect("a connection").0)
        .find_map(|mut stream| stream.read_exact(&mut [0]).is_ok().then_some(stream))
        .expect("the connection that stays");
    for stream in [&outer, &inner] {
        stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).expect("a time limit");
        stream.set_write_timeout(Some(std::time::Duration::from_secs(20))).expect("a time limit");
    }
    std::thread::scope(|scope| {
        for (from, to) in [(&outer, &inner), (&inner, &outer)] {
            scope.spawn(move || send_pattern(from));
            scope.spawn(move || expect_pattern(to));
        }
    });
    client.end(&session);
    engine.ends();
}

const LENGTH: usize = 40 << 20;

/// A byte that tells its place.
fn pattern(place: usize) -> u8 {
    (place.wrapping_mul(0x9e37_79b9) >> 13) as u8
}

fn send_pattern(mut stream: &TcpStream) {
    let bytes: Vec<u8> = (0..LENGTH).map(pattern).collect();
    let mut at = 0;
    for size in (0..).map(|turn: usize| [1, 100, 16 << 10, 5000, 16_383, 16_385, 300_000][turn % 7]) {
        let piece = &bytes[at..LENGTH.min(at + size)];
        stream.write_all(piece).expect("to send");
        at += piece.len();
        if at == LENGTH {
            break;
        }
    }
    stream.shutdown(std::net::Shutdown::Write).expect("to end");
}

fn expect_pattern(mut stream: &TcpStream) {
    let mut buffer = vec![0; 200_000];
    let mut at = 0;
    for turn in 0.. {
        let count = stream.read(&mut buffer).expect("to receive");
        if count == 0 {
            break;
        }
        assert!(buffer[..count].iter().enumerate().all(|(offset, byte)| *byte == pattern(at + offset)), "at {at}");
        at += count;
        if turn % 50 == 0 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
    assert_eq!(at, LENGTH);
}

/// Whoever is first: either the host has them and they end with it, or it is too late for them.
pub(crate) fn forwards_added_while_the_host_ends_are_given_back() {
    let engine = Engine::start();
    let client = engine.client();
    let keeper = client.named("keeper");
    for round in 0..30 {
        let session = client.named("web");
        let adding = {
            let (client, body) = (client.clone(), request("web", vec![range(8300, 80, 50)]));
            std::thread::spawn(move || {
                client.request("POST", "/v1/forwards", &serde_json::to_vec(&body).expect("JSON")).status
            })
        };
        std::thread::sleep(std::time::Duration::from_micros(200 * round));
        client.end(&session);
        let status = adding.join().expect("no panic");
        assert!(matches!(status, 200 | 404), "{status}");
        wait_until("the ports to be free", || (8300..8350).all(is_free));
        assert_eq!(client.get::<Vec<Forward>>("/v1/forwards"), []);
    }
    drop(keeper);
    engine.ends();
}

pub(crate) fn fifteen_thousand_forwards() {
    let engine = Engine::start();
    let client = engine.client();
    let session = client.named("web");
    let address = Some("127.0.0.1".parse().expect("an address"));
    let many = request("web", vec![ForwardSpec { address, ..range(10_000, 10_000, 15_000) }]);
    let start = Instant::now();
    let added: Vec<Forward> = client.json("POST", "/v1/forwards", &many);
    eprintln!("15,000 forwards added in {:?}", start.elapsed());
    assert_eq!(added.len(), 15_000);
    let too_many = ForwardSpec { address, ..range(30_000, 10_000, 15_000) };
    let refused = client.refusal("POST", "/v1/forwards", &request("web", vec![too_many]));
    assert_eq!(refused.kind, ProblemKind::Exhausted);
    assert!(is_free(30_000));
    let start = Instant::now();
    let _: Vec<Forward> = client.json("DELETE", "/v1/forwards", &many);
    eprintln!("and removed in {:?}", start.elapsed());
    assert!(is_free(10_000));
    drop(session);
    engine.ends();
}
