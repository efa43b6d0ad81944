//! Captures the packets of a host and says whose they are.
//!
//! Packets come straight from a packet socket in the host's namespace; names come from the engine, which is asked when a
//! packet has an end that is not known yet. Such a packet, and those behind it, wait for the answer, so that they stay
//! in order; not for long, and not too many.

mod datagrams;
mod dissect;
mod names;
mod packets;
mod pcapng;
mod sink;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use minato_host::capture::{Direction, Filter, PacketSocket, PortFilter};
use minato_inspect::{Process, Transport};
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::client::{Client, Until};
use crate::failure::Failure;
use dissect::Way;
use names::{Looked, Names};
use packets::{Packets, Seen};
pub(crate) use sink::Sink;

/// A packet as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Packet {
    /// Seconds since the Unix epoch.
    pub(crate) time: f64,
    /// The host's interface.
    pub(crate) interface: String,
    /// As the host sees it.
    pub(crate) direction: PacketDirection,
    /// TCP or UDP, if it is one of them.
    pub(crate) transport: Option<Transport>,
    /// Who sends it.
    pub(crate) source: Option<Party>,
    /// Whom it is for.
    pub(crate) destination: Option<Party>,
    /// What it says, in plain words.
    pub(crate) what: String,
    /// Bytes, with all headers.
    pub(crate) length: usize,
}

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PacketDirection {
    /// It arrives.
    In,
    /// It leaves.
    Out,
}

impl From<Direction> for PacketDirection {
    fn from(direction: Direction) -> PacketDirection {
        match direction {
            Direction::In => PacketDirection::In,
            Direction::Out => PacketDirection::Out,
        }
    }
}

/// One end of a packet.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Party {
    /// The host that it is.
    pub(crate) host: Option<String>,
    /// Its address.
    pub(crate) address: IpAddr,
    /// Its port, if the packet has ports.
    pub(crate) port: Option<u16>,
    /// Whether the port is one that kernels choose by themselves.
    pub(crate) ephemeral: bool,
    /// The name that IANA has registered for the port.
    pub(crate) registered: Option<String>,
    /// Its process, where it can be told.
    pub(crate) process: Option<Process>,
    /// The client behind the gateway that appears with this address.
    pub(crate) client: Option<SocketAddr>,
}

/// What to capture.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// The host.
    pub(crate) host: String,
    /// Only packets from or to these ports.
    pub(crate) ports: Option<PortFilter>,
    /// At most so many bytes of each.
    pub(crate) snap_length: u32,
    /// At most so many packets.
    pub(crate) count: Option<u64>,
}

/// What was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// Packets that were shown or written.
    pub(crate) captured: u64,
    /// Packets that came faster than they could be taken.
    pub(crate) dropped: u64,
}

/// Most packets that wait for names.
const MOST_WAITING: usize = 8192;
/// Most bytes of them.
const MOST_BYTES: usize = 64 << 20;
/// When the engine did not know an end, it is not asked again about it for so long.
const PATIENCE: Duration = Duration::from_secs(1);

/// A capture under way.
pub(crate) struct Capture<'s> {
    packets: Packets,
    until: Until,
    client: Client,
    wanted: Wanted,
    names: Names,
    sink: &'s mut Sink,
    waiting: VecDeque<(Seen, dissect::Dissected)>,
    waiting_bytes: usize,
    /// How many of those that wait were there when the engine was asked.
    asked_for: usize,
    looking: Option<JoinHandle<Option<Looked>>>,
    /// When the engine was last asked in vain about a packet's ends.
    in_vain: HashMap<(Transport, SocketAddr, SocketAddr), Instant>,
    /// Names of interfaces, by the kernel's number.
    interfaces: HashMap<u32, String>,
    captured: u64,
}

impl<'s> Capture<'s> {
    /// Begins to capture.
    pub(crate) async fn begin(client: &Client, wanted: Wanted, sink: &'s mut Sink) -> Result<Capture<'s>, Failure> {
        let lent = client.packet_socket(&wanted.host).await.map_err(|error| error.into_failure(client))?;
        let filter = Filter { snap_length: wanted.snap_length, ports: wanted.ports };
        let socket = PacketSocket::start(lent.descriptor, &filter).map_err(cannot)?;
        let capture = Capture {
            packets: Packets::of(socket, wanted.snap_length as usize).map_err(cannot)?,
            until: lent.until,
            client: client.clone(),
            names: Names::of(&wanted.host),
            sink,
            wanted,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            asked_for: 0,
            looking: None,
            in_vain: HashMap::new(),
            interfaces: HashMap::new(),
            captured: 0,
        };
        Ok(capture)
    }

    /// Captures until `end` returns, the host is gone, or there are enough packets.
    pub(crate) async fn run(mut self, end: impl Future<Output = ()>) -> Result<Account, Failure> {
        tokio::pin!(end);
        loop {
            tokio::select! {
                biased;
                () = &mut end => break,
                looked = finished(&mut self.looking) => self.learn(looked)?,
                () = self.until.gone() => break,
                batch = self.packets.next() => self.add(batch.map_err(cannot)?)?,
            }
            if self.is_full() {
                break;
            }
        }
        let rest = self.packets.rest().await;
        self.add(rest)?;
        if let Some(looking) = self.looking.take() {
            let looked = tokio::time::timeout(PATIENCE, looking).await;
            self.learn(looked.ok().and_then(Result::ok).flatten())?;
        }
        self.emit(usize::MAX)?;
        let dropped = self.packets.socket.dropped().unwrap_or(0);
        self.sink.end(dropped)?;
        Ok(Account { captured: self.captured, dropped })
    }

    fn is_full(&self) -> bool {
        self.wanted.count.is_some_and(|count| self.captured >= count)
    }

    /// Takes packets that have come, and shows those that can be.
    fn add(&mut self, batch: Vec<Seen>) -> Result<(), Failure> {
        for seen in batch {
            let dissected = dissect::dissect(seen.info.link, &seen.bytes);
            if dissected.begins {
                self.names.forget(dissected.way);
                self.forgive(dissected.way);
            }
            self.waiting_bytes += seen.bytes.len();
            self.waiting.push_back((seen, dissected));
        }
        self.emit_known()?;
        self.sink.flush()
    }

    /// Shows those whose ends are known, or have waited long enough, and asks the engine about the first other one.
    fn emit_known(&mut self) -> Result<(), Failure> {
        while let Some((_, dissected)) = self.waiting.front() {
            let crowded = self.waiting.len() > MOST_WAITING || self.waiting_bytes > MOST_BYTES;
            if !crowded && self.names.lacks(dissected.way) && !self.was_in_vain(dissected.way) {
                self.ask();
                return Ok(());
            }
            self.emit(1)?;
        }
        Ok(())
    }

    /// Shows the first `count` of those that wait.
    fn emit(&mut self, count: usize) -> Result<(), Failure> {
        for _ in 0..count {
            let Some((seen, dissected)) = self.waiting.pop_front() else { break };
            self.waiting_bytes -= seen.bytes.len();
            self.asked_for = self.asked_for.saturating_sub(1);
            if self.is_full() {
                continue;
            }
            let interface = self.interface(seen.info.interface);
            let packet = self.names.packet(&seen, &dissected, interface);
            self.sink.packet(&seen.info, &seen.bytes, &packet)?;
            self.captured += 1;
        }
        Ok(())
    }

    /// Asks the engine what it knows, unless it is being asked already.
    fn ask(&mut self) {
        if self.looking.is_none() {
            self.asked_for = self.waiting.len();
            self.looking = Some(tokio::spawn(look(self.client.clone())));
        }
    }

    /// Takes the engine's answer. Those packets that were there when it was asked wait no longer.
    fn learn(&mut self, looked: Option<Looked>) -> Result<(), Failure> {
        self.looking = None;
        if let Some(looked) = looked {
            self.names.learn(looked);
        }
        let now = Instant::now();
        self.in_vain.retain(|_, since| now.duration_since(*since) < PATIENCE);
        for (_, dissected) in self.waiting.iter().take(self.asked_for) {
            if let Way::Ports(transport, source, destination) = dissected.way
                && self.names.lacks(dissected.way)
            {
                self.in_vain.insert((transport, source, destination), now);
                self.in_vain.insert((transport, destination, source), now);
            }
        }
        self.asked_for = 0;
        self.emit_known()?;
        self.sink.flush()
    }

    fn was_in_vain(&self, way: Way) -> bool {
        let Way::Ports(transport, source, destination) = way else { return false };
        self.in_vain.get(&(transport, source, destination)).is_some_and(|since| since.elapsed() < PATIENCE)
    }

    /// A conversation that begins anew is worth a question.
    fn forgive(&mut self, way: Way) {
        if let Way::Ports(transport, source, destination) = way {
            self.in_vain.remove(&(transport, source, destination));
            self.in_vain.remove(&(transport, destination, source));
        }
    }

    fn interface(&mut self, index: u32) -> String {
        let name = || self.packets.socket.interface_name(index).unwrap_or_else(|| format!("interface {index}"));
        self.interfaces.entry(index).or_insert_with(name).clone()
    }
}

fn cannot(error: io::Error) -> Failure {
    Failure::caused("cannot capture packets", error)
}

/// Waits for the engine's answer, if it has been asked.
async fn finished(looking: &mut Option<JoinHandle<Option<Looked>>>) -> Option<Looked> {
    match looking {
        Some(looking) => looking.await.ok().flatten(),
        None => std::future::pending().await,
    }
}

/// What the engine knows; `None` when it does not say.
async fn look(client: Client) -> Option<Looked> {
    let (hosts, ports, flows) = tokio::join!(client.hosts(), client.ports(), client.flows());
    Some(Looked { hosts: hosts.ok()?, ports: ports.ok()?, flows: flows.ok()? })
}
