//! The event stream tells everything in order, and who does not read hurts nobody.

use std::collections::BTreeSet;
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use minato_inspect::{Event, Forward, ForwardRequest, Happening, HostRequest};

use crate::client::{Answer, Client, chunk};
use crate::contract::Document;
use crate::engine::{Engine, wait_until};
use crate::forwards::{listen_inside, open, spec};

/// A subscriber that reads when it is asked to.
struct Stream {
    reader: BufReader<UnixStream>,
    document: Document,
}

impl Stream {
    /// Subscribes.
    fn open(client: &Client) -> Stream {
        let document = Document::of(&client.request("GET", "/v1/openapi.json", b""));
        let (status, content_type, reader) = client.open_stream("/v1/events");
        assert_eq!((status, content_type.as_str()), (200, "text/event-stream"));
        Stream { reader, document }
    }

    /// The next event, which must be as documented; `None` at the end.
    fn next(&mut self) -> Option<Happening> {
        let body = chunk(&mut self.reader)?;
        let answer = Answer { status: 200, content_type: "text/event-stream".into(), body };
        self.document.judge("GET", "/v1/events", &answer);
        Some(parse(&answer.body))
    }

    /// Reads until one comes that fits, and gives it. Quick: nothing is held against the documentation.
    fn until<T>(&mut self, what: &str, fits: impl Fn(Happening) -> Option<T>) -> T {
        loop {
            let body = chunk(&mut self.reader).unwrap_or_else(|| panic!("the stream ended before {what}"));
            if let Some(found) = fits(parse(&body)) {
                return found;
            }
        }
    }
}

/// One frame of the stream.
fn parse(frame: &[u8]) -> Happening {
    let text = std::str::from_utf8(frame).expect("text");
    let data = text.strip_prefix("data: ").and_then(|text| text.strip_suffix("\n\n")).expect("one data line");
    let event: Event = serde_json::from_str(data).expect("an event");
    assert!(event.time > 1.6e9);
    event.what
}

/// The variant's name in the API.
fn kind(event: &Happening) -> String {
    serde_json::to_value(event).expect("JSON")["event"].as_str().expect("a kind").to_owned()
}

pub(crate) fn everything_that_happens_is_told() {
    let engine = Engine::start();
    let client = engine.client();
    let keeper = client.named("keeper");
    let mut stream = Stream::open(&client);

    let session = open(&client, "web", vec![spec(9700, 80)]);
    let Some(Happening::HostStarted { host, address_v4, .. }) = stream.next() else { panic!("no host") };
    assert_eq!((host.as_str(), address_v4), ("web", session.host.address_v4));
    let Some(Happening::ForwardsAdded(added)) = stream.next() else { panic!("no forwards") };
    assert_eq!((added.host.as_str(), added.forwards), ("web", vec![spec(9700, 80)]));

    let listener = listen_inside(&session, "0.0.0.0:80");
    let told: BTreeSet<String> = (0..3).filter_map(|_| stream.next()).map(|event| kind(&event)).collect();
    assert_eq!(told.into_iter().collect::<Vec<_>>(), ["bind", "forwards-opened", "listen"]);

    let mut through = TcpStream::connect(("127.0.0.1", 9700)).expect("open");
    let Some(Happening::FlowStarted { id, flow }) = stream.next() else { panic!("no flow") };
    assert_eq!((flow.client.port, flow.server.port), (through.local_addr().expect("an address").port(), 80));
    let (mut accepted, _) = listener.accept().expect("a connection");
    through.write_all(b"hello").expect("sent");
    accepted.read_exact(&mut [0; 5]).expect("received");
    drop((through, accepted));
    let Some(Happening::FlowEnded { id: ended, flow }) = stream.next() else { panic!("no end") };
    assert_eq!((ended, flow.server.host.as_deref(), flow.bytes_in), (id, Some("web"), Some(5)));

    drop(listener);
    let told: BTreeSet<String> = (0..2).filter_map(|_| stream.next()).map(|event| kind(&event)).collect();
    assert_eq!(told.into_iter().collect::<Vec<_>>(), ["forwards-closed", "release"]);
    let request = ForwardRequest { host: "web".into(), forwards: vec![spec(9700, 80)] };
    let _: Vec<Forward> = client.json("DELETE", "/v1/forwards", &request);
    assert!(matches!(stream.next(), Some(Happening::ForwardsRemoved(removed)) if removed.forwards == request.forwards));
    client.end(&session);
    assert_eq!(stream.next(), Some(Happening::HostEnded { host: "web".into() }));

    drop(keeper);
    assert_eq!(stream.next(), Some(Happening::HostEnded { host: "keeper".into() }));
    assert!(matches!(stream.next(), Some(Happening::EngineStopping { .. })));
    assert_eq!(stream.next(), None);
    engine.ends();
}

pub(crate) fn who_comes_later_is_told_what_happens_from_then_on() {
    let engine = Engine::start();
    let client = engine.client();
    // Whose own forwards would be told too.
    let session = client.open(&HostRequest { no_loopback: true, ..HostRequest::default() });
    for round in 0..5u16 {
        let gone = Stream::open(&client);
        let before = listen_inside(&session, &format!("127.0.0.1:{}", 9000 + 2 * round));
        drop(gone);
        // Also when it is not noticed yet that nobody listens any more.
        std::thread::sleep(Duration::from_millis(u64::from(round) * 60));
        let ports = [9000 + 2 * round, 9001 + 2 * round];
        let unheard = listen_inside(&session, &format!("0.0.0.0:{}", ports[1]));
        let mut stream = Stream::open(&client);
        drop((before, unheard));
        // They were there when it came.
        for _ in 0..2 {
            let event = stream.next();
            let Some(Happening::Release(socket)) = &event else { panic!("round {round}: {event:?}") };
            assert!(ports.contains(&socket.port), "{socket:?}");
        }
    }
    drop(session);
    engine.ends();
}

pub(crate) fn who_does_not_read_hurts_nobody() {
    /// Each makes two events.
    const CONNECTIONS: usize = 5_000;
    let engine = Engine::start();
    let client = engine.client();
    let session = open(&client, "web", vec![spec(9800, 80)]);
    let listener = listen_inside(&session, "0.0.0.0:80");
    wait_until("the forward", || TcpStream::connect(("127.0.0.1", 9800)).is_ok());
    let (mut slow, quick) = (Stream::open(&client), Stream::open(&client));
    let counted = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&counted);
    let counting = std::thread::spawn(move || count(quick, CONNECTIONS, &counter));
    std::thread::spawn(move || listener.incoming().for_each(drop));
    for made in 0..CONNECTIONS {
        // However busy the machine is, the one that reads must be able to keep up.
        wait_until("the reader", || made < counted.load(Ordering::Relaxed) + 1_000 || counting.is_finished());
        // The service closes; its end is the end.
        let mut through = TcpStream::connect(("127.0.0.1", 9800)).expect("open");
        let _ = through.read(&mut [0; 1]);
    }
    counting.join().expect("who reads loses nothing");

    let lost = slow.until("its loss", |event| match event {
        Happening::EventsLost { count } => Some(count),
        _ => None,
    });
    assert!(lost > 1_000, "{lost} lost");
    drop((slow, session));
    engine.ends();
}

/// Counts the ends of flows, up to `wanted`.
fn count(mut stream: Stream, wanted: usize, counted: &AtomicUsize) {
    for _ in 0..wanted {
        stream.until("the end of a flow", |event| match event {
            Happening::EventsLost { count } => panic!("{count} lost"),
            Happening::FlowEnded { .. } => Some(()),
            _ => None,
        });
        counted.fetch_add(1, Ordering::Relaxed);
    }
}
