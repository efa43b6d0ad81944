//! The engine's control API, asked directly: for what must be seen faster than a command line starts.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use minato_inspect::{Host, Network, PortRow};
use serde::de::DeserializeOwned;

use crate::machine::{SOON, wait_for};

/// The engine of the account with this user ID.
pub(crate) struct Api {
    uid: u32,
}

impl Api {
    /// The ordinary user's engine.
    pub(crate) const USER: Api = Api { uid: 1000 };
    /// Root's engine.
    pub(crate) const ROOT: Api = Api { uid: 0 };

    /// `GET PATH`; `None` if no engine answers or it says no.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Option<T> {
        let mut stream = UnixStream::connect(format!("/run/user/{}/minato/default/api.sock", self.uid)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: minato\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        if !head.split(' ').nth(1)?.starts_with('2') {
            return None;
        }
        Some(serde_json::from_str(body).unwrap_or_else(|error| panic!("GET {path}: {error}: {body}")))
    }

    /// Sends a body; the status of the answer.
    pub(crate) fn send(&self, method: &str, path: &str, body: &str) -> u16 {
        let socket = format!("/run/user/{}/minato/default/api.sock", self.uid);
        let mut stream = UnixStream::connect(socket).expect("an engine");
        let length = body.len();
        write!(stream, "{method} {path} HTTP/1.0\r\nHost: minato\r\nContent-Length: {length}\r\n\r\n{body}")
            .expect("to send");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
    }

    pub(crate) fn network(&self) -> Network {
        self.get("/v1/network").expect("an engine")
    }

    /// Waits until the host is there.
    pub(crate) fn host(&self, name: &str) -> Host {
        wait_for(&format!("host {name}"), SOON, || {
            let hosts: Vec<Host> = self.get("/v1/hosts")?;
            hosts.into_iter().find(|host| host.name == name)
        })
    }

    /// The row of a port, if it is bound.
    pub(crate) fn port(&self, host: &str, port: u16) -> Option<PortRow> {
        let rows: Vec<PortRow> = self.get("/v1/ports")?;
        rows.into_iter().find(|row| row.host.as_deref() == Some(host) && row.port == port && row.listening)
    }
}
