//! What other threads ask of the packet loop. A command is sent through a channel and an eventfd wakes the loop; the
//! answer, where there is one, comes through a oneshot channel.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use minato_host::Family;
use minato_host::agent::InsideSocket;
use minato_host::direct::HeldClient;
use minato_host::sock_diag::SockDiag;
use minato_host::sockets::HeldPort;
use minato_inspect::{EgressVerdict, Offers};
use minato_ports::Transport;
use minato_relay::{Egress, Listener, Network, Services};
use rustix::event::{EventfdFlags, eventfd};
use tokio::sync::oneshot;

use super::egress::{Place, RefusalKey};
use super::inbound::held::HeldClients;
use super::resolver::JoinedZone;
use super::snapshot::FlowSnapshot;

/// A host, as the packet loop knows it.
#[derive(Debug)]
pub(crate) struct HostSetup {
    /// Never used twice.
    pub(crate) serial: u32,
    pub(crate) name: String,
    /// Its own addresses.
    pub(crate) addresses: Vec<IpAddr>,
    /// Ports of the machine's loopback that are opened to it.
    pub(crate) host_ports: Vec<u16>,
    /// What it may reach; `None`: everything.
    pub(crate) egress: Option<Egress>,
    /// Its socket table, with events.
    pub(crate) sockets: SockDiag,
    /// Its programs hold sockets of the machine.
    pub(crate) direct: bool,
}

/// A host of another network that has joined this one.
#[derive(Debug)]
pub(crate) struct Guest {
    /// No host has it.
    pub(crate) serial: u32,
    pub(crate) name: String,
    pub(crate) addresses: Vec<IpAddr>,
    /// As its own engine tells them.
    pub(crate) offers: Offers,
}

/// A port of the machine that is held, and where it leads.
#[derive(Debug)]
pub(crate) struct HeldForward {
    /// Never used twice.
    pub(crate) id: u64,
    pub(crate) address: SocketAddr,
    pub(crate) service_port: u16,
    pub(crate) socket: HeldSocket,
}

/// The socket that holds a port.
#[derive(Debug)]
pub(crate) enum HeldSocket {
    Tcp(HeldPort),
    Udp(OwnedFd),
}

impl HeldSocket {
    pub(crate) fn transport(&self) -> Transport {
        match self {
            HeldSocket::Tcp(_) => Transport::Tcp,
            HeldSocket::Udp(_) => Transport::Udp,
        }
    }
}

/// Sockets of forwards that are no more. Whoever asked drops them, which frees their ports: closing thousands takes longer
/// than packets can wait.
pub(crate) type GivenBack = Vec<HeldSocket>;

/// What the packet loop is asked to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// The network has other addresses. There is no host.
    Renumber(Network, oneshot::Sender<()>),
    AddHost(Box<HostSetup>, oneshot::Sender<()>),
    /// Gives the host's forwards back; its flows go on.
    CloseHost(u32, oneshot::Sender<GivenBack>),
    /// Delivers what the host has sent, now that its programs are gone.
    DrainHost(u32, oneshot::Sender<()>),
    /// Ends the host's flows and gives its forwards back.
    RemoveHost(u32, oneshot::Sender<()>),
    /// [`Command::CloseHost`] and [`Command::RemoveHost`] for a host without programs that has nothing left to deliver.
    /// One that has stays as it is, and the answer is `None`.
    EndIdleHost(u32, oneshot::Sender<Option<GivenBack>>),
    /// Ends the flows from these addresses, and the pings.
    EndFlows(Vec<IpAddr>, oneshot::Sender<()>),
    AddForwards(u32, Vec<HeldForward>, oneshot::Sender<()>),
    /// By ID.
    RemoveForwards(Vec<u64>, oneshot::Sender<GivenBack>),
    /// The same, but connections through them go on.
    ReleaseForwards(Vec<u64>, oneshot::Sender<GivenBack>),
    /// State and counters, by ID.
    Forwards(oneshot::Sender<Vec<ForwardStatus>>),
    Flows(oneshot::Sender<Vec<FlowSnapshot>>),
    /// Answers what a policy has refused, now that it is told.
    Refuse(RefusalKey),
    /// What the policy of a host says about a place, and a port there.
    Judge(u32, Place, Option<(Transport, u16)>, oneshot::Sender<EgressVerdict>),
    /// Whether the policy of the host at an address lets a connection pass. What it does not is not answered.
    Admits(IpAddr, SocketAddr, oneshot::Sender<bool>),
    /// Sockets that the loop had ordered from the agent.
    Supply(Supply),
    /// A host of another network is here too.
    AddGuest(Guest),
    /// What it offers has changed.
    SetOffers(u32, Offers),
    /// It is no longer, and what came from it has ended.
    RemoveGuest(u32, oneshot::Sender<()>),
    /// What the host with this serial number knows of the other networks that it has joined.
    SetJoined(u32, Vec<JoinedZone>),
    /// Looks at the host's listeners before the next command is taken, if they may have changed and the last look is not just over.
    Look(u32),
    /// A socket of the host listens now. Answered when its forwards are open.
    Begins(u32, Listener, oneshot::Sender<()>),
    /// The TCP ports on which services of the host listen now; who asks may want one of them. No answer: there is no such host.
    Listening(u32, Option<u16>, oneshot::Sender<Vec<u16>>),
    /// Joins a stream to a service.
    Dial(Dialed),
    /// Relays clients that are held.
    RelayHeld,
    /// Connects a client again that was held, and that a program could not take.
    ConnectAgain(HeldClient),
    Stop,
}

/// The services of a host have changed. What is left out of `ports` can't be reached from outside.
#[derive(Clone, Debug)]
pub(crate) struct ServicesChanged {
    pub(crate) host: u32,
    pub(crate) ports: Vec<(Transport, u16)>,
    /// All of them.
    pub(crate) services: Services,
}

/// A forward's state and counters.
#[derive(Clone, Debug)]
pub(crate) struct ForwardStatus {
    pub(crate) id: u64,
    pub(crate) open: bool,
    /// It is not, because its service listens in the other family only.
    pub(crate) other_family: bool,
    pub(crate) connections: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

/// A stream for a service of a host, of a client that came through the API.
#[derive(Debug)]
pub(crate) struct Dialed {
    pub(crate) host: u32,
    pub(crate) port: u16,
    pub(crate) socket: OwnedFd,
    pub(crate) client: SocketAddr,
}

/// Sockets made inside a host.
#[derive(Debug)]
pub(crate) struct Supply {
    pub(crate) host: u32,
    pub(crate) kind: InsideSocket,
    pub(crate) family: Family,
    /// Empty if the agent could not make them.
    pub(crate) sockets: Vec<OwnedFd>,
}

/// The other threads' end of the command queue.
#[derive(Clone, Debug)]
pub(crate) struct PlaneHandle {
    commands: Sender<Command>,
    wake: Arc<OwnedFd>,
    held: Arc<HeldClients>,
}

/// The packet loop has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlaneGone;

impl PlaneHandle {
    /// Sends a command; it is lost if the loop has ended.
    pub(crate) fn send(&self, command: Command) {
        if self.commands.send(command).is_ok() {
            let _ = rustix::io::write(&*self.wake, &1u64.to_ne_bytes());
        }
    }

    /// Clients that programs may take.
    pub(crate) fn held(&self) -> &HeldClients {
        &self.held
    }

    /// Sends a command that is answered, and waits for the answer.
    pub(crate) async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, PlaneGone> {
        let (sender, receiver) = oneshot::channel();
        self.send(command(sender));
        receiver.await.map_err(|_| PlaneGone)
    }
}

/// The packet loop's end of the command queue.
#[derive(Debug)]
pub(super) struct Commands {
    queue: Receiver<Command>,
    wake: Arc<OwnedFd>,
    held: Arc<HeldClients>,
}

impl Commands {
    pub(super) fn new() -> std::io::Result<(PlaneHandle, Commands)> {
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (commands, queue) = channel();
        let held = Arc::<HeldClients>::default();
        let handle = PlaneHandle { commands, wake: Arc::clone(&wake), held: Arc::clone(&held) };
        Ok((handle, Commands { queue, wake, held }))
    }

    pub(super) fn descriptor(&self) -> impl AsFd + '_ {
        &*self.wake
    }

    /// Clients that programs may take.
    pub(super) fn held(&self) -> &HeldClients {
        &self.held
    }

    /// The next command, if there is one.
    pub(super) fn next(&self) -> Option<Command> {
        self.queue.try_recv().ok()
    }

    /// Makes the eventfd silent until the next command.
    pub(super) fn quiet(&self) {
        let _ = rustix::io::read(&*self.wake, &mut [0; 8]);
    }
}
