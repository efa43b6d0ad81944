//! Binds of programs in hosts that fail: who is told, and why it failed. And what follows those that listen.

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::thread;

use minato_host::Family;
use minato_host::agent::{Fabric, InsideSocket};
use minato_host::binds::{BindRefusal, Binds, FailedBind, Listening, Place};
use minato_host::direct::NotDirect;
use minato_host::holder::{self, Holder, HolderProcesses};
use minato_host::process;
use minato_host::sync::lock;
use minato_inspect::{Policy, Problem, ProblemKind, SessionEvent, SessionId};
use minato_relay::Listener;
use tokio::sync::mpsc::WeakUnboundedSender;
use tokio::sync::oneshot;

use super::direct::{Home, Surroundings};
use super::programs::Programs;
use super::{Control, HostRecord, Inside};
use crate::convert;
use crate::plane::{Command, PlaneHandle};
use crate::problem::{problem, with_fix};
use crate::rows;

/// Most failures of one session that are remembered, so that a program that tries again and again is told about once.
const MOST: usize = 1024;

/// What is needed to tell a session why binds fail.
pub(crate) struct BindWatch {
    host: String,
    addresses: Vec<IpAddr>,
    place: Place,
    /// ` --network NET` where a command line needs it.
    network_flag: String,
    session: WeakUnboundedSender<SessionEvent>,
    id: SessionId,
    /// Who still runs programs in the host.
    programs: Arc<Programs>,
    fabric: Arc<Fabric>,
    told: Mutex<HashSet<(FailedBind, Vec<u32>)>>,
    /// The packet loop, and the host's number there.
    plane: PlaneHandle,
    serial: u32,
    /// For programs whose sockets are replaced.
    direct: Option<Surroundings>,
}

impl Control {
    /// Prepares to tell a session why binds of a program fail; `sole` if the session has no other.
    pub(crate) fn bind_watch(&self, id: SessionId, sole: bool) -> Result<BindWatch, Problem> {
        let state = self.state();
        let found = state.hosts.iter().find_map(|(name, host)| {
            let inside = host.inside.as_ref()?;
            Some(BindWatch {
                host: name.clone(),
                addresses: host.addresses(),
                place: inside.place.clone(),
                network_flag: self.network_flag(),
                session: host.sessions.get(&id)?.downgrade(),
                id,
                programs: Arc::clone(&host.programs),
                fabric: Arc::clone(&self.fabric),
                told: Mutex::default(),
                plane: self.plane.clone(),
                serial: host.serial,
                direct: host.direct.then(|| self.surroundings(name, host, inside)),
            })
        });
        let watch = found.ok_or_else(|| problem(ProblemKind::NotFound, format!("there is no session {}", id.0)))?;
        watch.programs.watched(id, sole);
        Ok(watch)
    }

    fn surroundings(&self, name: &str, host: &HostRecord, inside: &Inside) -> Surroundings {
        Surroundings {
            sockets: Arc::clone(&self.direct),
            fabric: Arc::clone(&self.fabric),
            plane: self.plane.clone(),
            home: Arc::new(Home { host: name.to_owned(), network_inode: inside.network_inode }),
            serial: host.serial,
            addresses: host.addresses(),
            joined: Arc::clone(&host.joined),
            has_policy: host.policy != Policy::default(),
        }
    }
}

impl BindWatch {
    /// Serves the binds that come out of `listener` for as long as a program is there that asks: longer than the session,
    /// if it leaves programs behind. It has a thread of its own, because every bind waits for it.
    ///
    /// A program that could not be given a filter has no listener.
    pub(crate) fn begin(mut self, listener: Option<OwnedFd>) -> io::Result<()> {
        let Some(listener) = listener else {
            if self.direct.is_some() {
                self.warn(format!("no connection of this program is direct: {UNASKED}"));
            }
            return Ok(());
        };
        let direct = self.direct.take().and_then(|surroundings| match surroundings.direct() {
            Ok(direct) => Some(direct),
            Err(error) => {
                self.warn(not_direct(&self.host, &error));
                None
            }
        });
        let mut binds = Binds::of(listener, self.place.clone(), direct);
        let serve = move || {
            let inside = || self.fabric.sockets(&self.host, InsideSocket::Plain, Family::V4, 1).ok()?.pop();
            match binds.serve(inside, |failed| self.tell(&failed), |began| self.follow(began)) {
                // Nobody is left who could ask.
                Ok(()) => self.programs.ended(self.id),
                Err(error) => tracing::error!(%error, "binds can't be served any more"),
            }
        };
        thread::Builder::new().name("binds".into()).stack_size(STACK).spawn(serve).map(drop)
    }

    /// Returns when the host's forwards have followed a socket that listens now: a program may tell a client of its new port
    /// at once, as file transfer does.
    fn follow(&self, Listening { address, v6_only }: Listening) {
        let transport = minato_ports::Transport::Tcp;
        let listener = Listener { transport, address: address.ip(), port: address.port(), v6_only };
        let (done, followed) = oneshot::channel();
        self.plane.send(Command::Begins(self.serial, listener, done));
        // Without a packet loop there are no forwards.
        let _ = followed.blocking_recv();
    }

    fn warn(&self, message: String) {
        if let Some(session) = self.session.upgrade() {
            let _ = session.send(SessionEvent::Warning { message });
        }
    }

    /// Tells the session, before the program learns it and may end. Not if it was told already, or the program is in
    /// its own way: some bind IPv6 and then IPv4, and know what it means when the second one fails.
    fn tell(&self, failed: &FailedBind) {
        let holders = match failed.reason {
            BindRefusal::InUse => self.holders(failed),
            BindRefusal::NotOurs | BindRefusal::Privileged { .. } | BindRefusal::Forbidden => Vec::new(),
        };
        let pids: Vec<u32> = holders.iter().flat_map(|holder| pids(&holder.processes)).collect();
        if !pids.is_empty() && pids.iter().all(|pid| *pid == failed.pid) {
            return;
        }
        let new = {
            let mut told = lock(&self.told);
            told.len() < MOST && told.insert((failed.clone(), pids))
        };
        if let Some(session) = self.session.upgrade().filter(|_| new) {
            let problem = Box::new(self.problem(failed, holders.first()));
            let _ = session.send(SessionEvent::BindFailed { problem });
        }
    }

    fn holders(&self, failed: &FailedBind) -> Vec<Holder> {
        let look = || -> io::Result<Vec<Holder>> {
            let mut sockets = self.fabric.sock_diag(&self.host).map_err(io::Error::other)?;
            let (addresses, port) = (failed.addresses(), failed.address.port());
            holder::holders_inside(&mut sockets, self.place.inode(), failed.transport, &addresses, port)
        };
        look().unwrap_or_else(|error| {
            tracing::warn!(%error, "can't read a host's socket table");
            Vec::new()
        })
    }

    fn problem(&self, failed: &FailedBind, holder: Option<&Holder>) -> Problem {
        let FailedBind { pid, address, transport, reason, .. } = failed;
        let transport = convert::from_host(*transport);
        let program = process::describe(*pid).map_or_else(|| "a program".to_owned(), |process| process.name);
        let host = &self.host;
        let cannot = format!("{program} (pid {pid}) can't bind {address}/{transport} in host {host:?}");
        match reason {
            BindRefusal::InUse => {
                let by = match holder.and_then(|holder| holder.remote) {
                    // Port numbers are held by clients too.
                    Some(remote) => format!("a connection to {remote} has the port"),
                    None => "the port is in use".to_owned(),
                };
                let holder = Box::new(rows::holder(holder, *address, transport));
                let conflict = problem(ProblemKind::Conflict, format!("{cannot}: {by}"));
                let conflict = Problem { holder: Some(holder), ..conflict };
                with_fix(conflict, "a host of its own has every port free: minato run -- CMD")
            }
            BindRefusal::NotOurs => {
                let own: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
                let own = own.join(", ");
                let title = format!("{cannot}: it is no address of this host, which has {own} and its loopback");
                with_fix(problem(ProblemKind::WrongAddress, title), "bind 0.0.0.0 or [::], every address of the host")
            }
            BindRefusal::Privileged { first } => {
                let setting = "net.ipv4.ip_unprivileged_port_start";
                let title = format!("{cannot}: ports below {first} need a privilege there ({setting} = {first})");
                let exec = format!("minato{} exec --net-admin {host}", self.network_flag);
                with_fix(problem(ProblemKind::Privileged, title), format!("{exec} -- sysctl -w {setting}=0"))
            }
            BindRefusal::Forbidden => problem(ProblemKind::Internal, format!("{cannot}: the kernel forbids it")),
        }
    }
}

/// Why nobody can be asked about a program's connections.
const UNASKED: &str =
    "its kernel installs no filter, being older than Linux 5.19 or because another supervisor has one here";

/// Why a host's connections take the way through the packet loop, though it was to be direct.
fn not_direct(host: &str, error: &NotDirect) -> String {
    let because = match error {
        NotDirect::CannotLock(_) => "its policy could not be enforced on them, because this kernel lets only \
                                     administrators lock a socket to one peer"
            .to_owned(),
        NotDirect::Io(error) => error.to_string(),
    };
    format!("no connection of host {host:?} is direct: {because}")
}

/// Enough for serving a bind.
const STACK: usize = 256 * 1024;

fn pids(processes: &HolderProcesses) -> Vec<u32> {
    match processes {
        HolderProcesses::Known(known) => known.iter().map(|process| process.pid).collect(),
        HolderProcesses::NoPermission | HolderProcesses::Nobody => Vec::new(),
    }
}
