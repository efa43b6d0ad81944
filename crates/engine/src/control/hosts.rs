//! How a host is made, and what is shown of it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use minato_host::agent::{HostConfig, HostNamespace, NewHost, RequestError};
use minato_host::enter::Namespaces;
use minato_host::process;
use minato_host::sock_diag::SockDiag;
use minato_inspect::{Enter, Happening, Host, HostRequest, Problem, ProblemKind, Process};
use minato_ports::PortRange;
use minato_relay::{Egress, Services};
use tokio::sync::{oneshot, watch};

use super::ending::{self, GRACE, PATIENCE};
use super::forwards::Holding;
use super::joining::Joiner;
use super::loopback::Loopback;
use super::sessions::Session;
use super::{Control, HostRecord, Inside, Phase, State, blocking, name, no_such_host, policy};
use crate::convert;
use crate::plane::{Command, HostSetup};
use crate::problem::{ending, internal, problem, with_fix};

/// A name and addresses that are reserved for a host.
struct Reserved {
    name: String,
    serial: u32,
    address_v4: Ipv4Addr,
    address_v6: Option<Ipv6Addr>,
    ephemeral_range: (u16, u16),
    /// Other networks that it joins.
    networks: Vec<String>,
}

/// What parts of a request mean.
struct Checked {
    range: PortRange,
    /// `None` if everything may leave.
    egress: Option<Egress>,
}

impl Control {
    /// Makes a host and a session in it. Nothing is left of one that can't be made.
    pub(crate) async fn create_host(self: &Arc<Self>, request: HostRequest) -> Result<Session, Problem> {
        let reserved = match self.check(&request).await {
            Ok(checked) => self.reserve(&request, checked.range).await.map(|reserved| (reserved, checked)),
            Err(refusal) => Err(refusal),
        };
        // An engine that was started for this host only has nothing to wait for.
        let (reserved, checked) = reserved.inspect_err(|_| self.stop_if_empty())?;
        let (inside, holding) = match self.make(&reserved, request, checked.egress).await {
            Ok(made) => made,
            Err(failure) => {
                self.forget(&reserved.name);
                return Err(failure);
            }
        };
        if let Err(failure) = self.join_all(&reserved.joiner(&inside), &reserved.networks).await {
            self.abandon(holding).await;
            self.end_host(&reserved.name, GRACE, oneshot::channel().0).await;
            return Err(failure);
        }
        self.commit(&reserved, inside, holding).await
    }

    async fn check(&self, request: &HostRequest) -> Result<Checked, Problem> {
        let checked = check(request)?;
        self.check_subnet(request.subnet.as_deref()).await?;
        self.check_networks(&request.networks)?;
        Ok(checked)
    }

    /// Takes a name and addresses. Waits for a host of the same name that is just ending.
    async fn reserve(self: &Arc<Self>, request: &HostRequest, range: PortRange) -> Result<Reserved, Problem> {
        let started = Instant::now();
        loop {
            self.avoid_collisions().await;
            let mut gone = {
                let _turn = self.numbering.lock().await;
                let mut state = self.state();
                match state.ending_host(request) {
                    Some(gone) if started.elapsed() < PATIENCE => gone,
                    _ => return self.reserve_in(&mut state, request, range),
                }
            };
            let _ = tokio::time::timeout(PATIENCE, gone.wait_for(|gone| *gone)).await;
        }
    }

    fn reserve_in(&self, state: &mut State, request: &HostRequest, range: PortRange) -> Result<Reserved, Problem> {
        if state.stopping.is_some() {
            return Err(ending());
        }
        let name = match &request.name {
            Some(name) if state.is_named(name) => return Err(name_taken(name)),
            Some(name) => name.clone(),
            None => name::derive(&request.command, |name| state.is_named(name)),
        };
        let (address_v4, address_v6) = self.free_addresses(state)?;
        let serial = state.next_serial;
        state.next_serial += 1;
        let ephemeral_range = (range.first().value(), range.last().value());
        let record = HostRecord {
            serial,
            phase: Phase::Creating,
            address_v4,
            address_v6,
            loopback: (!request.no_loopback).then(|| Loopback::new(state.numbers.network.loopback_v4, address_v4)),
            ephemeral_range,
            policy: request.policy.clone(),
            networks: request.networks.clone(),
            memberships: Vec::new(),
            joined: Arc::default(),
            direct: request.direct,
            grace: ending::grace(request.grace_seconds),
            created: Instant::now(),
            is_awaited: true,
            sessions: HashMap::new(),
            programs: Arc::default(),
            services: Services::default(),
            inside: None,
            gone: watch::channel(false).0,
        };
        state.hosts.insert(name.clone(), record);
        let networks = request.networks.clone();
        Ok(Reserved { name, serial, address_v4, address_v6, ephemeral_range, networks })
    }

    /// Holds the ports, then makes the namespace: what fails cheaply comes first.
    async fn make(
        self: &Arc<Self>,
        reserved: &Reserved,
        request: HostRequest,
        egress: Option<Egress>,
    ) -> Result<(Inside, Holding), Problem> {
        let holding = self.hold(&reserved.name, request.forwards).await?;
        let (serial, name) = (reserved.serial, reserved.name.clone());
        let addresses: Vec<IpAddr> =
            std::iter::once(reserved.address_v4.into()).chain(reserved.address_v6.map(IpAddr::V6)).collect();
        let (host_ports, direct) = (request.host_ports, request.direct);
        let setup = move |sockets| HostSetup { serial, name, addresses, host_ports, egress, sockets, direct };
        match self.make_namespace(reserved, setup).await {
            Ok(inside) => Ok((inside, holding)),
            Err(failure) => {
                self.abandon(holding).await;
                Err(failure)
            }
        }
    }

    /// Has the agent make a host, and tells the packet loop of it.
    async fn make_namespace(
        self: &Arc<Self>,
        reserved: &Reserved,
        setup: impl FnOnce(SockDiag) -> HostSetup + Send + 'static,
    ) -> Result<Inside, Problem> {
        let config = HostConfig {
            name: reserved.name.clone(),
            address_v4: reserved.address_v4,
            address_v6: reserved.address_v6,
            ephemeral_range: reserved.ephemeral_range,
            resolv_conf: self.resolv_conf(&reserved.name),
        };
        let (control, networks) = (Arc::clone(self), reserved.networks.clone());
        let (namespace, place, dumps, known) = blocking(move || {
            control.write_resolv_conf(&config.resolv_conf, &networks).map_err(internal)?;
            let NewHost { namespace, table, dumps, place } = control.fabric.add_host(&config).map_err(agent_problem)?;
            let (done, known) = oneshot::channel();
            control.plane.send(Command::AddHost(Box::new(setup(table)), done));
            Ok::<_, Problem>((namespace, place, dumps, known))
        })
        .await??;
        known.await.map_err(|_| ending())?;
        let HostNamespace { namespaces: Namespaces { user, network, mount, time }, network_inode, .. } = namespace;
        let enter = Enter { user, network, mount, time };
        let sockets = Arc::new(Mutex::new(dumps));
        Ok(Inside { enter, network_inode, place, sockets })
    }

    /// Makes the host known and opens its first session.
    async fn commit(
        self: &Arc<Self>,
        reserved: &Reserved,
        inside: Inside,
        holding: Holding,
    ) -> Result<Session, Problem> {
        {
            let mut state = self.state();
            if let Some(host) = state.hosts.get_mut(&reserved.name) {
                host.phase = Phase::Running;
                host.inside = Some(inside);
            }
            let Reserved { name, address_v4, address_v6, .. } = reserved;
            let (address_v4, address_v6) = (*address_v4, *address_v6);
            self.names.send_modify(|()| ());
            self.events.tell(|| Happening::HostStarted { host: name.clone(), address_v4, address_v6 });
        }
        let (_, warnings) = self.put_in_force(reserved.serial, &reserved.name, holding).await?;
        let (session, stopping) = {
            let mut state = self.state();
            let session = self.open_session_in(&mut state, &reserved.name)?;
            if let Some(host) = state.hosts.get_mut(&reserved.name) {
                host.is_awaited = false;
            }
            (session, state.stopping.is_some())
        };
        warnings.into_iter().for_each(|warning| session.warn(warning));
        if stopping { Err(ending()) } else { Ok(session) }
    }

    /// Hosts with their processes, by name.
    pub(crate) async fn hosts(self: &Arc<Self>) -> Result<Vec<Host>, Problem> {
        let shown: Vec<(Host, u64)> = {
            let state = self.state();
            let running = state.all_running();
            let show = |(name, inside): (String, Inside)| Some((state.show(&name).ok()?, inside.network_inode));
            running.into_iter().filter_map(show).chain(state.show_guests()).collect()
        };
        blocking(move || {
            let mut pids = process::by_network();
            let mut processes = |inode| describe(pids.remove(&inode).unwrap_or_default());
            shown.into_iter().map(|(host, inode)| Host { processes: processes(inode), ..host }).collect()
        })
        .await
    }

    /// One host with its processes.
    pub(crate) async fn host(self: &Arc<Self>, name: &str) -> Result<Host, Problem> {
        let shown = {
            let state = self.state();
            (state.show(name)?, state.running(name)?.1.network_inode)
        };
        blocking(move || Host { processes: processes(shown.1), ..shown.0 }).await
    }

    pub(super) fn host_directory(&self, name: &str) -> PathBuf {
        self.directory.join("hosts").join(name)
    }
}

impl State {
    /// Tells when the host is gone, which is just ending, whose name the new one is to have.
    fn ending_host(&self, request: &HostRequest) -> Option<watch::Receiver<bool>> {
        let has_phase = |name: &str, is_it: fn(Phase) -> bool| self.hosts.get(name).filter(|host| is_it(host.phase));
        let host = match &request.name {
            Some(name) => has_phase(name, Phase::is_ending),
            // Nobody needs another name because of a host that will be gone in a moment.
            None => {
                let stays = |name: &str| has_phase(name, |phase| phase != Phase::Deserted).is_some();
                self.hosts.get(&name::derive(&request.command, stays))
            }
        };
        host.filter(|_| self.stopping.is_none()).map(|host| host.gone.subscribe())
    }
}

impl Reserved {
    /// The host as other networks are told of it.
    fn joiner(&self, inside: &Inside) -> Joiner {
        let (name, namespace) = (self.name.clone(), inside.enter.network.clone());
        Joiner { name, serial: self.serial, namespace, ephemeral_range: self.ephemeral_range }
    }
}

/// What can be said about a request without looking around.
fn check(request: &HostRequest) -> Result<Checked, Problem> {
    if let Some(name) = &request.name {
        name::check_host(name)?;
    }
    if request.host_ports.contains(&0) {
        return Err(problem(ProblemKind::Usage, "0 is no port of the machine that could be opened"));
    }
    let egress = policy::egress(&request.policy)?;
    let range = match request.ephemeral_range {
        None => PortRange::DYNAMIC,
        Some((first, last)) => PortRange::from_numbers(first, last)
            .map_err(|error| problem(ProblemKind::Usage, format!("{first}-{last} is no ephemeral range: {error}")))?,
    };
    Ok(Checked { range, egress })
}

pub(super) fn name_taken(name: &str) -> Problem {
    let conflict = problem(ProblemKind::Conflict, format!("there is a host named {name:?} already"));
    let conflict = with_fix(conflict, "give the new host another --name");
    with_fix(conflict, format!("to run another program on the same address: minato exec {name} -- CMD"))
}

pub(super) fn agent_problem(error: RequestError) -> Problem {
    match error {
        RequestError::UnknownHost(name) => no_such_host(&name),
        RequestError::HostExists(name) => name_taken(&name),
        error @ (RequestError::Failed(_) | RequestError::AgentGone) => internal(error),
    }
}

/// The processes in a network namespace, as they are shown.
fn processes(network_inode: u64) -> Vec<Process> {
    describe(process::in_network(network_inode))
}

/// Processes as they are shown.
pub(super) fn describe(pids: Vec<u32>) -> Vec<Process> {
    pids.into_iter().filter_map(process::describe).map(convert::process).collect()
}
