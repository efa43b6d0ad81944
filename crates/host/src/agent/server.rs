//! The agent's side: one thread, one request at a time.

use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    process::ExitCode,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    FabricError, HostConfig, InsideSocket, MAX_SOCKETS, Step, Subnet, blank,
    directory::{Directory, remove_directory},
    namespaces::{Base, inode, join_network, time_namespace},
    network::{self, HostNetwork},
    protocol::{Reply, Request},
};
use crate::{Family, capture, passing, process::Members, sock_diag, sys};

/// After how long without a request the agent makes ready what the next host needs. A program is just starting in the
/// one that was asked for last, and should not share the processors.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
/// After how long without a request it clears away.
const IDLE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Serves the engine until it is gone, then cleans up.
pub(super) fn serve(engine: BorrowedFd<'_>) -> ExitCode {
    // The agent outlives its terminal, and whoever signals everything that is called like this program, by the time it
    // needs to clean up: it ends when the engine does.
    let _ = rustix::process::setsid();
    for signal in [libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGTERM, libc::SIGPIPE] {
        sys::ignore_signal(signal);
    }
    let _ = rustix::thread::set_name(c"minato-agent");
    let _ = crate::sockets::raise_file_limit();
    let mut agent = Agent::default();
    // The engine's death looks like end of file; any other error leaves nobody to serve either.
    while agent.work_while_idle(engine).is_ok()
        && let Ok(Some((request, descriptors))) = passing::receive::<Request>(engine)
    {
        if agent.answer(engine, request, descriptors).is_err() {
            break;
        }
    }
    agent.clean_up();
    ExitCode::SUCCESS
}

#[derive(Default)]
struct Agent {
    fabric: Option<Made>,
    hosts: HashMap<String, Host>,
    directory: Option<Directory>,
    /// Nobody waits for what the last request has made: a host was removed, or the engine has yet to begin.
    at_leisure: bool,
}

/// A fabric that is made.
struct Made {
    base: Base,
    network: network::Fabric,
}

struct Host {
    network: HostNetwork,
    mount: OwnedFd,
    time: Option<OwnedFd>,
}

impl Host {
    fn members(&self) -> Members {
        Members {
            networks: vec![self.network.inode],
            mounts: inode(&self.mount).into_iter().collect(),
            times: self.time.iter().filter_map(|time| inode(time).ok()).collect(),
            user: None,
        }
    }
}

impl Agent {
    /// Does what can wait, each when there was no request for a while.
    fn work_while_idle(&mut self, engine: BorrowedFd<'_>) -> io::Result<()> {
        let Some(Made { base, network }) = &mut self.fabric else { return Ok(()) };
        let pause = if std::mem::take(&mut self.at_leisure) { &Timespec::default() } else { &PAUSE };
        if network.lacks_blank() && !comes_within(engine, pause)? {
            network.stock_up(base.network());
        }
        if network.has_vacant() && !comes_within(engine, &IDLE)? {
            network.unplug();
        }
        Ok(())
    }

    fn answer(&mut self, engine: BorrowedFd<'_>, request: Request, descriptors: Vec<OwnedFd>) -> io::Result<()> {
        let (reply, attached) = self.handle(request, descriptors).unwrap_or_else(|error| {
            let errno = error.source.raw_os_error().unwrap_or(libc::EIO);
            (Reply::Failed { step: error.step, detail: error.detail, errno }, Vec::new())
        });
        passing::send(engine, &reply, &passing::borrow(&attached))
    }

    fn handle(&mut self, request: Request, descriptors: Vec<OwnedFd>) -> Result<(Reply, Vec<OwnedFd>), FabricError> {
        match request {
            Request::Create { subnet, gateway_mac, mtu, directory } => {
                self.directory =
                    directory.zip(descriptors.into_iter().next()).map(|(path, lock)| Directory { path, lock });
                self.create(subnet, gateway_mac, mtu)
            }
            Request::Renumber { subnet } => {
                made(&mut self.fabric)?.network.renumber(subnet);
                self.at_leisure = true;
                Ok((Reply::Renumbered, Vec::new()))
            }
            Request::AddHost(config) => self.add_host(&config),
            Request::RemoveHost { name } => self.remove_host(&name),
            Request::Sockets { host, kind, family, count } => self.sockets(&host, kind, family, count),
            Request::SockDiag { host } => self.sock_diag(&host),
            Request::PacketSocket { host } => self.inside(&host, |_| {
                let socket = capture::open().map_err(Step::Socket.failed())?;
                Ok((Reply::PacketSocket, vec![socket]))
            }),
            Request::Plug => {
                let (port, netlink) = made(&mut self.fabric)?.network.plug()?;
                Ok((Reply::Plugged { port }, vec![netlink]))
            }
            Request::Unplug { port } => {
                made(&mut self.fabric)?.network.vacate(port);
                Ok((Reply::Unplugged, Vec::new()))
            }
            Request::CoverNames { host, resolv_conf } => {
                let base = &made(&mut self.fabric)?.base;
                let Some(host) = self.hosts.get(&host) else { return Ok((Reply::UnknownHost, Vec::new())) };
                base.cover_names(&host.mount, &resolv_conf)?;
                Ok((Reply::NamesCovered, Vec::new()))
            }
            Request::Furnish { host, interface } => {
                let ipv6 = made(&mut self.fabric)?.network.common.ipv6;
                self.inside(&host, |_| {
                    blank::furnish(&interface, ipv6)?;
                    Ok((Reply::Furnished, Vec::new()))
                })
            }
        }
    }

    fn create(&mut self, subnet: Subnet, gateway_mac: [u8; 6], mtu: u16) -> Result<(Reply, Vec<OwnedFd>), FabricError> {
        let base = Base::unshare()?;
        let (network, tap) = network::Fabric::create(subnet, gateway_mac, mtu)?;
        let reply = Reply::Created { privileged: base.user.is_none(), ipv6: network.common.ipv6 };
        let user = base.user.as_ref().map(OwnedFd::try_clone).transpose().map_err(Step::UserNamespace.failed())?;
        self.at_leisure = true;
        self.fabric = Some(Made { base, network });
        Ok((reply, std::iter::once(tap).chain(user).collect()))
    }

    fn add_host(&mut self, config: &HostConfig) -> Result<(Reply, Vec<OwnedFd>), FabricError> {
        let made = made(&mut self.fabric)?;
        if self.hosts.contains_key(&config.name) {
            return Ok((Reply::HostExists, Vec::new()));
        }
        let (network, handles) = made.network.add_host(config, made.base.network())?;
        let mount = match made.base.mount_namespace(&config.resolv_conf) {
            Ok(mount) => mount,
            Err(error) => {
                made.network.remove_host(&network);
                return Err(error);
            }
        };
        let host = Host { network, mount, time: time_namespace() };
        let namespaces = [Some(&host.network.namespace), Some(&host.mount), host.time.as_ref()].into_iter().flatten();
        let copies: io::Result<Vec<OwnedFd>> = namespaces.map(OwnedFd::try_clone).collect();
        let copies = match copies {
            Ok(copies) => copies,
            Err(error) => {
                made.network.remove_host(&host.network);
                return Err(Step::MountNamespace.failed()(error));
            }
        };
        let reply = Reply::HostAdded {
            user: made.base.user.as_ref().map(AsRawFd::as_raw_fd),
            network: host.network.namespace.as_raw_fd(),
            mount: host.mount.as_raw_fd(),
            time: host.time.as_ref().map(AsRawFd::as_raw_fd),
            network_inode: host.network.inode,
        };
        self.hosts.insert(config.name.clone(), host);
        Ok((reply, copies.into_iter().chain(handles).collect()))
    }

    fn remove_host(&mut self, name: &str) -> Result<(Reply, Vec<OwnedFd>), FabricError> {
        let made = made(&mut self.fabric)?;
        let Some(host) = self.hosts.remove(name) else {
            return Ok((Reply::UnknownHost, Vec::new()));
        };
        host.members().kill_until_none();
        made.network.remove_host(&host.network);
        // An engine without hosts usually ends.
        self.at_leisure = !self.hosts.is_empty();
        Ok((Reply::HostRemoved, Vec::new()))
    }

    fn sockets(
        &mut self,
        host: &str,
        kind: InsideSocket,
        family: Family,
        count: usize,
    ) -> Result<(Reply, Vec<OwnedFd>), FabricError> {
        let congestion = made(&mut self.fabric)?.network.common.congestion;
        self.inside(host, |_| {
            let made: io::Result<Vec<_>> =
                (0..count.min(MAX_SOCKETS)).map(|_| network::inside_socket(kind, family, congestion)).collect();
            made.map_err(Step::Socket.failed()).map(|sockets| (Reply::Sockets, sockets))
        })
    }

    fn sock_diag(&mut self, host: &str) -> Result<(Reply, Vec<OwnedFd>), FabricError> {
        self.inside(host, |_| {
            sock_diag::open_table().map_err(Step::SockDiag.failed()).map(|opened| (Reply::SockDiag, opened))
        })
    }

    /// Runs `work` in the network namespace of a host.
    fn inside(
        &mut self,
        host: &str,
        work: impl FnOnce(&Host) -> Result<(Reply, Vec<OwnedFd>), FabricError>,
    ) -> Result<(Reply, Vec<OwnedFd>), FabricError> {
        let made = made(&mut self.fabric)?;
        let Some(host) = self.hosts.get(host) else { return Ok((Reply::UnknownHost, Vec::new())) };
        join_network(&host.network.namespace)?;
        let result = work(host);
        made.base.return_to_fabric();
        result
    }

    fn clean_up(&mut self) {
        let mut members = Members::default();
        self.hosts.values().for_each(|host| members.extend(&host.members()));
        if let Some(Made { base, .. }) = &self.fabric {
            members.networks.extend(inode(base.network()));
            members.user = base.user.as_ref().and_then(|user| inode(user).ok());
        }
        members.kill_until_none();
        if let Some(Directory { path, lock }) = &self.directory
            && let Err(error) = remove_directory(path, lock.as_fd())
        {
            // Standard error is the engine's log.
            eprintln!("minato-agent: can't remove {}: {error}", path.display());
        }
    }
}

/// Whether a request comes in this time, or the engine's end.
fn comes_within(engine: BorrowedFd<'_>, time: &Timespec) -> io::Result<bool> {
    let mut requests = [PollFd::new(&engine, PollFlags::IN)];
    Ok(rustix::io::retry_on_intr(|| poll(&mut requests, Some(time)))? > 0)
}

fn made(fabric: &mut Option<Made>) -> Result<&mut Made, FabricError> {
    fabric.as_mut().ok_or_else(|| Step::TalkToAgent.failed()(io::ErrorKind::NotConnected.into()))
}
