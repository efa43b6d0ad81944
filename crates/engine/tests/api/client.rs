//! As little HTTP as the tests need.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use minato_inspect::{Host, HostRequest, Problem, SessionEnd, SessionEvent, SessionId};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest time that an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Talks to one engine.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    socket: PathBuf,
}

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) body: Vec<u8>,
}

/// An open session; closes with this.
pub(crate) struct Session {
    reader: BufReader<UnixStream>,
    pub(crate) id: SessionId,
    pub(crate) host: Host,
    pub(crate) enter: minato_inspect::Enter,
}

impl Client {
    pub(crate) fn new(socket: &Path) -> Client {
        Client { socket: socket.to_owned() }
    }

    fn send(&self, method: &str, path: &str, body: &[u8]) -> BufReader<UnixStream> {
        let mut stream = UnixStream::connect(&self.socket).expect("the engine's socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: minato\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        // An engine that refuses a body need not read all of it.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        BufReader::new(stream)
    }

    pub(crate) fn request(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        let mut reader = self.send(method, path, body);
        let (status, content_type) = head(&mut reader);
        let mut body = Vec::new();
        let _ = reader.read_to_end(&mut body);
        Answer { status, content_type, body }
    }

    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        self.request("GET", path, b"").json()
    }

    pub(crate) fn json<T: DeserializeOwned>(&self, method: &str, path: &str, body: &impl Serialize) -> T {
        self.request(method, path, &serde_json::to_vec(body).expect("JSON")).json()
    }

    pub(crate) fn refusal(&self, method: &str, path: &str, body: &impl Serialize) -> Problem {
        self.request(method, path, &serde_json::to_vec(body).expect("JSON")).problem()
    }

    pub(crate) fn hosts(&self) -> Vec<Host> {
        self.get("/v1/hosts")
    }

    pub(crate) fn open(&self, request: &HostRequest) -> Session {
        self.open_at("/v1/hosts", &serde_json::to_vec(request).expect("JSON"))
    }

    pub(crate) fn named(&self, name: &str) -> Session {
        self.open(&HostRequest { name: Some(name.into()), ..HostRequest::default() })
    }

    pub(crate) fn open_at(&self, path: &str, body: &[u8]) -> Session {
        let mut reader = self.send("POST", path, body);
        let (status, _) = head(&mut reader);
        assert_eq!(status, 200, "{path} is refused");
        match event(&mut reader) {
            Some(SessionEvent::Opened { session, host, enter }) => Session { reader, id: session, host: *host, enter },
            other => panic!("not opened: {other:?}"),
        }
    }

    /// Sends a request whose answer does not end; takes its head and its first piece.
    pub(crate) fn stream(&self, method: &str, path: &str, body: &[u8]) -> (Answer, BufReader<UnixStream>) {
        let mut reader = self.send(method, path, body);
        let (status, content_type) = head(&mut reader);
        let body = chunk(&mut reader).unwrap_or_default();
        (Answer { status, content_type, body }, reader)
    }

    /// Opens an answer that does not end, and takes its head: status and content type.
    pub(crate) fn open_stream(&self, path: &str) -> (u16, String, BufReader<UnixStream>) {
        let mut reader = self.send("GET", path, b"");
        let (status, content_type) = head(&mut reader);
        (status, content_type, reader)
    }

    /// Asks for a file descriptor: the status, and what came.
    pub(crate) fn descriptor(&self, path: &str) -> (u16, OwnedFd) {
        let (status, mut stream) = self.upgraded("GET", path, "minato-descriptor");
        stream.write_all(b".").expect("to be ready");
        let message = minato_host::passing::receive::<serde_json::Value>(stream.as_fd()).expect("a message");
        let (_, descriptors) = message.expect("a message");
        (status, descriptors.into_iter().next().expect("a descriptor"))
    }

    /// Asks for another protocol: the status, and the connection behind the head of the answer.
    pub(crate) fn upgraded(&self, method: &str, path: &str, protocol: &str) -> (u16, UnixStream) {
        let mut stream = UnixStream::connect(&self.socket).expect("the engine's socket");
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: minato\r\nconnection: Upgrade\r\nupgrade: {protocol}\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("to ask");
        // Byte by byte, so that nothing behind the head is read.
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a head");
            answer.extend(byte);
        }
        (self::head(&mut &answer[..]).0, stream)
    }

    pub(crate) fn end(&self, session: &Session) -> SessionEnd {
        self.request("DELETE", &format!("/v1/sessions/{}", session.id.0), b"").json()
    }
}

impl Answer {
    pub(crate) fn json<T: DeserializeOwned>(&self) -> T {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!((self.status, self.content_type.as_str()), (200, "application/json"), "{text}");
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    pub(crate) fn problem(&self) -> Problem {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.content_type, "application/problem+json", "{} {text}", self.status);
        let problem: Problem = serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(problem.status, self.status);
        assert!(!problem.title.is_empty());
        problem
    }
}

impl Session {
    /// The next event; `None` when the stream has ended.
    pub(crate) fn next(&mut self) -> Option<SessionEvent> {
        event(&mut self.reader)
    }
}

fn head(reader: &mut impl BufRead) -> (u16, String) {
    let mut status = 0;
    let mut content_type = String::new();
    for (number, line) in
        reader.lines().map(|line| line.expect("a head")).take_while(|line| !line.is_empty()).enumerate()
    {
        if number == 0 {
            status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        } else if let Some(value) = line.strip_prefix("content-type: ") {
            content_type = value.to_owned();
        }
    }
    (status, content_type)
}

/// One event: the engine writes each as one chunk.
fn event(reader: &mut impl BufRead) -> Option<SessionEvent> {
    let chunk = chunk(reader)?;
    assert_eq!(chunk.iter().position(|byte| *byte == b'\n'), Some(chunk.len() - 1), "an event is a line is a chunk");
    Some(serde_json::from_slice(&chunk).expect("an event"))
}

/// One chunk of a chunked body; `None` at its end.
pub(crate) fn chunk(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut size = String::new();
    reader.read_line(&mut size).ok()?;
    let length = usize::from_str_radix(size.trim(), 16).ok().filter(|length| *length > 0)?;
    let mut chunk = vec![0; length + 2];
    reader.read_exact(&mut chunk).ok()?;
    assert_eq!(chunk.split_off(length), b"\r\n", "the end of the chunk");
    Some(chunk)
}
