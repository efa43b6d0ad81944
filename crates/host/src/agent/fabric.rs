//! The engine's side: requests to the agent, and its end.

use std::{
    collections::HashMap,
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    net::{AddressFamily, Shutdown, SocketFlags, SocketType, shutdown, socketpair, sockopt},
    process::{Pid, PidfdFlags, pidfd_open},
};

use super::{
    FabricConfig, FabricError, HostConfig, HostNamespace, InsideSocket, Interface, NewHost, RequestError, Step, Subnet,
    host_mac, links,
    namespaces::inode,
    protocol::{Reply, Request},
};
use crate::{
    Family,
    binds::Place,
    enter::Namespaces,
    netlink::Netlink,
    passing,
    process::{self, Members},
    sock_diag::SockDiag,
    sync::lock,
    tap::Tap,
};

/// The engine's handle on the agent. Requests block for milliseconds; they may come from several threads and are
/// served one after the other. [`Fabric::end`], and dropping it, end the agent and everything in its namespaces, and wait
/// for that.
#[derive(Debug)]
pub struct Fabric {
    channel: OwnedFd,
    /// One request and its answer at a time.
    turn: Mutex<()>,
    agent: Child,
    /// Readable when the agent has ended.
    process: OwnedFd,
    /// Every host, by its name.
    hosts: Mutex<HashMap<String, Arc<Held>>>,
    /// That of all of them, unless privileged.
    user: Option<OwnedFd>,
    mtu: u16,
    privileged: bool,
    ipv6: bool,
}

/// Who belongs to a host, and its namespaces, held so that their numbers are no others' until nobody is looked for by them.
#[derive(Debug)]
struct Held {
    members: Members,
    _namespaces: Vec<OwnedFd>,
}

impl Fabric {
    /// Starts the agent, which makes the fabric namespace with its bridge and the TAP device.
    ///
    /// # Errors
    /// The step that failed and the kernel's reason; [`crate::check::explain`] names cause and fix.
    pub fn create(config: &FabricConfig) -> Result<(Self, Tap), FabricError> {
        let (ours, theirs) = channel().map_err(Step::StartAgent.failed())?;
        let agent = Command::new(&config.program)
            .args(&config.arguments)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .map_err(Step::StartAgent.failed())?;
        let process = pidfd_open(Pid::from_child(&agent), PidfdFlags::empty())
            .map_err(io::Error::from)
            .map_err(Step::StartAgent.failed())?;
        let mut fabric = Self {
            channel: ours,
            turn: Mutex::default(),
            agent,
            process,
            hosts: Mutex::default(),
            user: None,
            mtu: config.mtu,
            privileged: false,
            ipv6: false,
        };
        let request = Request::Create {
            subnet: config.subnet,
            gateway_mac: config.gateway_mac,
            mtu: config.mtu,
            directory: config.directory.as_ref().map(|directory| directory.path.clone()),
        };
        let lock: Vec<_> = config.directory.iter().map(|directory| directory.lock.as_fd()).collect();
        match fabric.request("", &request, &lock) {
            Ok((Reply::Created { privileged, ipv6 }, mut descriptors)) if !descriptors.is_empty() => {
                fabric.privileged = privileged;
                fabric.ipv6 = ipv6;
                let tap = Tap::from(descriptors.remove(0));
                fabric.user = descriptors.pop();
                Ok((fabric, tap))
            }
            Err(RequestError::Failed(error)) => Err(error),
            _ => Err(Step::TalkToAgent.failed()(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// Process ID of the agent.
    pub fn agent_pid(&self) -> u32 {
        self.agent.id()
    }

    /// Whether the network was made by real root, without a user namespace (decision D1).
    pub fn is_privileged(&self) -> bool {
        self.privileged
    }

    /// Whether the machine's kernel has IPv6. Without it hosts are made with IPv4 only.
    pub fn has_ipv6(&self) -> bool {
        self.ipv6
    }

    /// Gives a fabric without hosts other addresses.
    ///
    /// # Errors
    /// The agent is gone.
    pub fn renumber(&self, subnet: Subnet) -> Result<(), RequestError> {
        let (reply, _) = self.request("", &Request::Renumber { subnet }, &[])?;
        if matches!(reply, Reply::Renumbered) { Ok(()) } else { Err(unexpected(&reply)) }
    }

    /// Makes a host: network namespace, veth into the bridge, addresses, routes, sysctls, mount namespace.
    ///
    /// # Errors
    /// Nothing is left of a host that could not be made.
    pub fn add_host(&self, config: &HostConfig) -> Result<NewHost, RequestError> {
        let answer = self.request(&config.name, &Request::AddHost(config.clone()), &[]);
        let made = match answer {
            Ok((reply, descriptors)) => self.new_host(config, &reply, descriptors).ok_or_else(|| unexpected(&reply)),
            Err(error) => Err(error),
        };
        // It may be there although its descriptors could not be received.
        if matches!(made, Err(RequestError::Failed(_))) {
            let _ = self.remove_host(&config.name);
        }
        made
    }

    /// A host as the agent tells of it; `None` if something is missing.
    fn new_host(&self, config: &HostConfig, reply: &Reply, descriptors: Vec<OwnedFd>) -> Option<NewHost> {
        let Reply::HostAdded { user, network, mount, time, network_inode } = *reply else { return None };
        let mut descriptors = descriptors.into_iter();
        let namespaces: Vec<OwnedFd> = descriptors.by_ref().take(2 + usize::from(time.is_some())).collect();
        let (_, [mounts, times @ ..]) = namespaces.split_first()? else { return None };
        let members = Members {
            networks: vec![network_inode],
            mounts: vec![inode(mounts).ok()?],
            times: times.iter().filter_map(|time| inode(time).ok()).collect(),
            user: None,
        };
        let setting = File::from(descriptors.next()?);
        let dumps = descriptors.next()?;
        let place = Place::new(network_inode, dumps.as_fd(), self.agent_pid(), setting).ok()?;
        let table = SockDiag::of(descriptors)?;
        let path = |descriptor: i32| format!("/proc/{}/fd/{descriptor}", self.agent_pid());
        let held = Held { members, _namespaces: namespaces };
        lock(&self.hosts).insert(config.name.clone(), Arc::new(held));
        let namespace = HostNamespace {
            name: config.name.clone(),
            namespaces: Namespaces {
                user: user.map(path),
                network: path(network),
                mount: path(mount),
                time: time.map(path),
            },
            network_inode,
            mac: host_mac(config.address_v4),
        };
        Some(NewHost { namespace, table, dumps: SockDiag::dumps_only(dumps), place })
    }

    /// Ends every process in a host: SIGTERM, and SIGKILL to what is left after `grace`. Blocks up to `grace`, without
    /// keeping other requests waiting. The host stays, and its kernel goes on to deliver what they had sent.
    ///
    /// # Errors
    /// [`RequestError::UnknownHost`].
    pub fn end_processes(&self, name: &str, grace: Duration) -> Result<(), RequestError> {
        process::terminate(&self.held(name)?.members, grace);
        Ok(())
    }

    /// Process IDs of those that belong to a host, also of those that have left its network namespace, in ascending order.
    ///
    /// # Errors
    /// [`RequestError::UnknownHost`].
    pub fn processes(&self, name: &str) -> Result<Vec<u32>, RequestError> {
        Ok(self.held(name)?.members.pids())
    }

    fn held(&self, name: &str) -> Result<Arc<Held>, RequestError> {
        lock(&self.hosts).get(name).cloned().ok_or_else(|| RequestError::UnknownHost(name.to_owned()))
    }

    /// Removes a host, with SIGKILL to the processes that are left in it. Close its [`SockDiag`] and sockets before: each
    /// of them keeps its namespace alive.
    ///
    /// # Errors
    /// [`RequestError::UnknownHost`], or the agent is gone.
    pub fn remove_host(&self, name: &str) -> Result<(), RequestError> {
        let (reply, _) = self.request(name, &Request::RemoveHost { name: name.to_owned() }, &[])?;
        lock(&self.hosts).remove(name);
        if matches!(reply, Reply::HostRemoved) { Ok(()) } else { Err(unexpected(&reply)) }
    }

    /// Makes `count` non-blocking, close-on-exec sockets inside a host (at most [`MAX_SOCKETS`](super::MAX_SOCKETS) a call).
    ///
    /// # Errors
    /// [`RequestError::UnknownHost`], the agent is out of file descriptors, or it is gone.
    pub fn sockets(
        &self,
        host: &str,
        kind: InsideSocket,
        family: Family,
        count: usize,
    ) -> Result<Vec<OwnedFd>, RequestError> {
        let request = Request::Sockets { host: host.to_owned(), kind, family, count };
        let (reply, descriptors) = self.request(host, &request, &[])?;
        if matches!(reply, Reply::Sockets) { Ok(descriptors) } else { Err(unexpected(&reply)) }
    }

    /// A sock_diag handle inside a host, subscribed to the end of every TCP and UDP socket.
    ///
    /// # Errors
    /// [`RequestError::UnknownHost`], or the agent is gone.
    pub fn sock_diag(&self, host: &str) -> Result<SockDiag, RequestError> {
        let (reply, descriptors) = self.request(host, &Request::SockDiag { host: host.to_owned() }, &[])?;
        SockDiag::of(descriptors).ok_or_else(|| unexpected(&reply))
    }

    /// A socket that sees the packets of every interface of a host, once [`PacketSocket`](crate::capture::PacketSocket)
    /// starts it. It keeps the host's namespace alive.
    ///
    /// # Errors
    /// [`RequestError::UnknownHost`], or the agent is gone.
    pub fn packet_socket(&self, host: &str) -> Result<OwnedFd, RequestError> {
        let (reply, mut descriptors) = self.request(host, &Request::PacketSocket { host: host.to_owned() }, &[])?;
        descriptors.pop().ok_or_else(|| unexpected(&reply))
    }

    /// Plugs a host of another fabric into this one: makes its interface `eth{number}`, and returns the port for
    /// [`Fabric::unplug`]. The interface goes with this fabric's agent, too.
    ///
    /// To be called outside of both agents' user namespaces, by the user who owns them: such a process has rights in both.
    ///
    /// # Errors
    /// `namespace` is no network namespace of this user's, or has such an interface already.
    pub fn plug(&self, namespace: BorrowedFd<'_>, number: u32) -> Result<u32, RequestError> {
        let (reply, mut descriptors) = self.request("", &Request::Plug, &[])?;
        let (Reply::Plugged { port }, Some(netlink)) = (&reply, descriptors.pop()) else {
            return Err(unexpected(&reply));
        };
        let pair = links::veth(*port, self.mtu, namespace, number);
        let made = Netlink::from(netlink).requests(vec![pair]);
        made.map_err(|(_, source)| RequestError::Failed(Step::Veth.failed()(source)))?;
        Ok(*port)
    }

    /// Takes away what [`Fabric::plug`] made, unless its host is gone already.
    ///
    /// # Errors
    /// The agent is gone.
    pub fn unplug(&self, port: u32) -> Result<(), RequestError> {
        let (reply, _) = self.request("", &Request::Unplug { port }, &[])?;
        if matches!(reply, Reply::Unplugged) { Ok(()) } else { Err(unexpected(&reply)) }
    }

    /// Gives an interface of a host that another fabric has plugged in its addresses, and waits until it carries packets.
    ///
    /// # Errors
    /// [`RequestError::UnknownHost`], there is no such interface, or the agent is gone.
    pub fn furnish(&self, host: &str, interface: &Interface) -> Result<(), RequestError> {
        let request = Request::Furnish { host: host.to_owned(), interface: *interface };
        let (reply, _) = self.request(host, &request, &[])?;
        if matches!(reply, Reply::Furnished) { Ok(()) } else { Err(unexpected(&reply)) }
    }

    /// Covers in a host again what the machine has replaced: the kernel takes a mount away from a file that is renamed over or
    /// removed outside. `resolv_conf` is the file of [`HostConfig`].
    ///
    /// # Errors
    /// [`RequestError::UnknownHost`], it can't be covered, or the agent is gone.
    pub fn cover_names(&self, host: &str, resolv_conf: &Path) -> Result<(), RequestError> {
        let request = Request::CoverNames { host: host.to_owned(), resolv_conf: resolv_conf.to_owned() };
        let (reply, _) = self.request(host, &request, &[])?;
        if matches!(reply, Reply::NamesCovered) { Ok(()) } else { Err(unexpected(&reply)) }
    }

    /// Sends a request and waits for its answer.
    fn request(
        &self,
        host: &str,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(Reply, Vec<OwnedFd>), RequestError> {
        let _turn = lock(&self.turn);
        let channel = self.channel.as_fd();
        let answer = passing::send(channel, request, descriptors).and_then(|()| passing::receive(channel));
        match answer {
            Ok(Some((Reply::UnknownHost, _))) => Err(RequestError::UnknownHost(host.to_owned())),
            Ok(Some((Reply::HostExists, _))) => Err(RequestError::HostExists(host.to_owned())),
            Ok(Some((Reply::Failed { step, detail, errno }, _))) => {
                let source = io::Error::from_raw_os_error(errno);
                Err(RequestError::Failed(FabricError { step, detail, source }))
            }
            Ok(Some(answer)) => Ok(answer),
            Err(error) if error.raw_os_error() == Some(libc::EMFILE) => {
                Err(RequestError::Failed(Step::TalkToAgent.failed()(error)))
            }
            Ok(None) | Err(_) => {
                // An answer that comes late would be taken for the next request's: this agent is given up.
                self.hang_up();
                Err(RequestError::AgentGone)
            }
        }
    }

    /// Ends the agent, which ends every process in its namespaces and removes the engine's directory, and waits for
    /// that. Requests that other threads have under way fail.
    pub fn end(&self) {
        self.hang_up();
        let mut ended = [PollFd::new(&self.process, PollFlags::IN)];
        let _ = rustix::io::retry_on_intr(|| poll(&mut ended, None));
        // The agent has ended them, unless it was killed itself.
        let mut hosts = lock(&self.hosts);
        let mut left = Members { user: self.user.as_ref().and_then(|user| inode(user).ok()), ..Members::default() };
        hosts.values().for_each(|host| left.extend(&host.members));
        left.kill_until_none();
        hosts.clear();
    }

    /// Tells the agent that no more requests come, as our death would; also in the middle of a request.
    fn hang_up(&self) {
        // It fails only when that has been done already.
        let _ = shutdown(&self.channel, Shutdown::Both);
    }
}

impl Drop for Fabric {
    fn drop(&mut self) {
        self.end();
        // Takes its status, so that no zombie is left.
        let _ = self.agent.wait();
    }
}

/// Readable when the agent has ended: every host is lost then. Not for reading from.
impl AsFd for Fabric {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }
}

/// A pair of connected sockets that keep message boundaries; ours gives up on an agent that does not answer.
fn channel() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_timeout(&ours, sockopt::Timeout::Recv, Some(ANSWER_TIMEOUT))?;
    Ok((ours, theirs))
}

/// An answer that does not fit its request: the agent is another program than this one.
fn unexpected(reply: &Reply) -> RequestError {
    let source = io::Error::new(io::ErrorKind::InvalidData, format!("unexpected answer {reply:?}"));
    RequestError::Failed(Step::TalkToAgent.failed()(source))
}

/// How long the agent may take for one answer. A busy machine needs seconds to make a network namespace while it
/// takes down many others.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
