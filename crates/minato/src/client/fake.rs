//! An engine that says what a test wants, over a real socket.

use std::sync::{Arc, Mutex};

use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::Client;
use crate::runtime_dir::RuntimeDir;

/// How the fake engine answers a request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// A status and a body.
    Json(u16, serde_json::Value),
    /// A session: these lines, and then the stream stays open or ends.
    Session(Vec<serde_json::Value>, Afterwards),
    /// These lines, and then the stream ends.
    Lines(Vec<String>),
    /// Nothing: the connection closes.
    Silence,
}

/// What a session's stream does after its lines.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Afterwards {
    Stays,
    Ends,
}

/// A running fake engine.
pub(crate) struct Fake {
    pub(crate) client: Client,
    requests: Arc<Mutex<Vec<String>>>,
    _directory: TempDir,
}

impl Fake {
    /// Serves; the n-th request gets the n-th reply, and the last reply is repeated.
    pub(crate) fn new(replies: Vec<Reply>) -> Fake {
        let fake = Fake::absent();
        fake.client.directory().create().expect("a directory");
        let listener = UnixListener::bind(fake.client.directory().socket()).expect("a socket");
        let requests = Arc::clone(&fake.requests);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let (requests, replies) = (Arc::clone(&requests), replies.clone());
                tokio::spawn(async move {
                    // A connection that is closed without a request was made ahead.
                    let Some((stream, place)) = read_request(stream, &requests).await else { return };
                    answer(stream, replies.get(place).or(replies.last()).expect("a reply").clone()).await;
                });
            }
        });
        fake
    }

    /// Nobody serves.
    pub(crate) fn absent() -> Fake {
        let temporary = tempfile::tempdir().expect("a directory");
        let network = "default".parse().expect("a name");
        let directory = RuntimeDir::below(&temporary.path().join("minato"), &network);
        let client = Client::new(directory).expect("trusted");
        Fake { client, requests: Arc::default(), _directory: temporary }
    }

    /// The requests so far: method, path and body.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no panic").clone()
    }
}

/// The connection, and how many requests had come before.
async fn read_request(mut stream: UnixStream, requests: &Mutex<Vec<String>>) -> Option<(UnixStream, usize)> {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).await.expect("a request");
        if count == 0 {
            return None;
        }
        text += &String::from_utf8_lossy(&buffer[..count]);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |length| length.parse().expect("a number")) {
            let line = head.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1");
            let mut requests = requests.lock().expect("no panic");
            requests.push(format!("{line} {body}").trim_end().to_owned());
            return Some((stream, requests.len() - 1));
        }
    }
}

async fn answer(mut stream: UnixStream, reply: Reply) {
    match reply {
        Reply::Silence => {}
        Reply::Json(status, body) => {
            let body = body.to_string();
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).await.expect("sent");
        }
        Reply::Lines(lines) => {
            send_lines(&mut stream, lines).await;
            stream.write_all(b"0\r\n\r\n").await.expect("sent");
        }
        Reply::Session(lines, afterwards) => {
            send_lines(&mut stream, lines.iter().map(ToString::to_string).collect()).await;
            if afterwards == Afterwards::Ends {
                stream.write_all(b"0\r\n\r\n").await.expect("sent");
            } else {
                std::future::pending::<()>().await;
            }
        }
    }
}

async fn send_lines(stream: &mut UnixStream, lines: Vec<String>) {
    stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.expect("sent");
    for line in lines {
        // In two pieces, so that a line is not a chunk; and an empty piece would end the body.
        let text = format!("{line}\n");
        let (first, second) = text.split_at(text.len() / 2);
        for piece in [first, second].into_iter().filter(|piece| !piece.is_empty()) {
            let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
            stream.write_all(chunk.as_bytes()).await.expect("sent");
        }
    }
}

/// The first line of a session that joins this process's own namespaces.
pub(crate) fn opened() -> serde_json::Value {
    json!({
        "event": "opened",
        "session": 7,
        "host": {
            "name": "web", "address_v4": "10.77.0.2", "address_v6": "fd77::2", "ephemeral_range": [49152, 65535],
            "age_seconds": 0.0, "forwards": [], "processes": [],
        },
        "enter": { "user": null, "network": "/proc/self/ns/net", "mount": "/proc/self/ns/mnt", "time": null },
    })
}

/// A refusal.
pub(crate) fn problem(kind: &str, status: u16) -> Reply {
    Reply::Json(status, json!({ "kind": kind, "status": status, "title": "no such thing" }))
}
