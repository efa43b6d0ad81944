//! Tries connections: from this machine, or from inside a host by a process of our own in it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::process::Stdio;
use std::time::Duration;

use minato_host::enter::Identity;
use minato_inspect::ExecRequest;
use minato_ports::Transport;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;

use super::exhaustion::{self, Exhaustion};
use crate::client::{self, Client};
use crate::commands::DONE;
use crate::failure::Failure;
use crate::program;
use crate::terminal::Terminal;

/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long an answer to a datagram may take.
const SILENCE: Duration = Duration::from_millis(700);

/// How a connection came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "outcome", content = "reason")]
pub(crate) enum Outcome {
    /// It was accepted.
    Connected,
    /// It was refused.
    Refused,
    /// Nothing answered in time.
    TimedOut,
    /// A datagram was answered.
    Answered,
    /// A datagram was sent, and nothing came back: that is how most services treat what they don't understand.
    Silent,
    /// There is no way there.
    Unreachable(String),
    /// The client has no port left for this destination.
    PortsExhausted(Exhaustion),
    /// Something else.
    Failed(String),
}

impl Outcome {
    /// Whether somebody is there.
    pub(super) fn came_through(&self) -> bool {
        matches!(self, Outcome::Connected | Outcome::Answered)
    }

    /// Whether a firewall may be the reason.
    pub(super) fn may_be_filtered(&self) -> bool {
        !self.came_through() && !matches!(self, Outcome::PortsExhausted(_))
    }
}

/// Tries one connection from here, or sends a datagram.
pub(super) fn attempt(destination: SocketAddr, transport: Transport) -> Outcome {
    match transport {
        Transport::Tcp => connect(destination),
        Transport::Udp => ask(destination).unwrap_or_else(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => Outcome::Refused,
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Outcome::Silent,
            _ => unsent(&error),
        }),
    }
}

/// Sends a datagram and waits for an answer. To a port where names are asked for it is a question (RFC 1035 §4.1: who
/// serves the root?); elsewhere a line without words, which says as little as can be said.
fn ask(destination: SocketAddr) -> io::Result<Outcome> {
    const QUESTION: &[u8] = &[0x6d, 0x6e, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1];
    let any: IpAddr = if destination.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(destination)?;
    socket.set_read_timeout(Some(SILENCE))?;
    socket.send(if destination.port() == 53 { QUESTION } else { b"\n" })?;
    socket.recv(&mut [0; 1])?;
    Ok(Outcome::Answered)
}

fn connect(destination: SocketAddr) -> Outcome {
    match TcpStream::connect_timeout(&destination, PATIENCE) {
        Ok(_) => Outcome::Connected,
        Err(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => Outcome::Refused,
            io::ErrorKind::TimedOut => Outcome::TimedOut,
            io::ErrorKind::AddrNotAvailable => match exhaustion::look(destination) {
                Ok(Some(exhaustion)) => Outcome::PortsExhausted(exhaustion),
                _ => Outcome::Unreachable(error.to_string()),
            },
            _ => unsent(&error),
        },
    }
}

fn unsent(error: &io::Error) -> Outcome {
    match error.kind() {
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => {
            Outcome::Unreachable(error.to_string())
        }
        _ => Outcome::Failed(error.to_string()),
    }
}

/// The same from inside a host.
pub(super) async fn attempt_from(
    host: &str,
    destination: SocketAddr,
    transport: Transport,
    client: &Client,
) -> Result<Outcome, Failure> {
    let destination = destination.to_string();
    let udp = (transport == Transport::Udp).then_some("--udp");
    let arguments: Vec<&str> = ["__probe", &destination].into_iter().chain(udp).collect();
    let text = say_from(host, &arguments, Identity::Own, client).await?;
    Ok(serde_json::from_str(&text).unwrap_or_else(|_| Outcome::Failed("the probe inside said nothing".into())))
}

/// What a name leads to for a program inside a host; or why it leads nowhere.
pub(super) async fn resolve_from(host: &str, name: &str, client: &Client) -> Result<Resolved, Failure> {
    let text = say_from(host, &["__resolve", name], Identity::Own, client).await?;
    Ok(serde_json::from_str(&text).unwrap_or_else(|_| Err("the resolver inside said nothing".into())))
}

/// What this program says when it runs inside a host.
pub(super) async fn say_from(
    host: &str,
    arguments: &[&str],
    identity: Identity,
    client: &Client,
) -> Result<String, Failure> {
    let request = ExecRequest { command: vec!["minato".into(), "explain".into()] };
    let session = client::open_session(client, host, &request).await?;
    let mut command = std::process::Command::new("/proc/self/exe");
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = program::spawn_command(command, identity, &session)?;
    let mut text = String::new();
    if let Some(output) = &mut child.stdout {
        // What can't be read is told below.
        let _ = output.read_to_string(&mut text).await;
    }
    program::terminate(&mut child).await;
    // The session closes with its connection in any case.
    let _ = session.end().await;
    Ok(text)
}

/// What a name leads to, or why it leads nowhere.
pub(super) type Resolved = Result<Vec<IpAddr>, String>;

/// Asks the resolver here.
pub(super) fn look_up(name: &str) -> Resolved {
    let addresses = (name, 0).to_socket_addrs().map_err(|error| error.to_string())?;
    let mut found: Vec<IpAddr> = addresses.map(|address| address.ip()).collect();
    found.dedup();
    Ok(found)
}

/// `minato __resolve NAME`: says what it leads to.
pub(crate) fn resolve(name: &str, terminal: &Terminal) -> u8 {
    terminal.print(&format!("{}\n", serde_json::json!(look_up(name))));
    DONE
}

/// `minato __probe ADDRESS:PORT`: tries and says how it came out.
pub(crate) fn probe(destination: SocketAddr, transport: Transport, terminal: &Terminal) -> u8 {
    terminal.print(&format!("{}\n", serde_json::json!(attempt(destination, transport))));
    DONE
}
