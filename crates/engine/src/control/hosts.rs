//! How a host is made and ended.

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use minato_host::agent::{HostConfig, NewHost, RequestError};
use minato_host::process;
use minato_inspect::{Enter, Happening, Host, HostRequest, Problem, ProblemKind, Process, SessionEnd};
use minato_ports::PortRange;
use minato_relay::Egress;
use tokio::sync::{oneshot, watch};

use super::forwards::Holding;
use super::joining::Joiner;
use super::sessions::Session;
use super::{Control, HostRecord, Inside, Phase, State, blocking, name, no_such_host, policy, resolv_conf};
use crate::convert;
use crate::plane::{Command, DRAIN, HostSetup};
use crate::problem::{ending, internal, problem, with_fix};

/// How long processes may take to end by themselves after SIGTERM.
const GRACE: Duration = Duration::from_millis(500);
/// How long the end of a host may take: the grace, what is to be delivered, and two seconds each for us and the agent
/// with processes that even SIGKILL does not end at once.
const PATIENCE: Duration = Duration::from_secs(5).saturating_add(DRAIN);

/// A name and addresses that are reserved for a host.
struct Reserved {
    name: String,
    serial: u32,
    address_v4: Ipv4Addr,
    address_v6: Ipv6Addr,
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
        let checked = check(&request).and_then(|checked| {
            self.check_subnet(request.subnet.as_deref())?;
            self.check_networks(&request.networks)?;
            Ok(checked)
        });
        let reserved = match checked {
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
            self.end_host(&reserved.name, oneshot::channel().0).await;
            return Err(failure);
        }
        self.commit(&reserved, inside, holding).await
    }

    /// Takes a name and addresses. Waits for a host of the same name that is just ending.
    async fn reserve(&self, request: &HostRequest, range: PortRange) -> Result<Reserved, Problem> {
        let started = Instant::now();
        loop {
            let mut gone = {
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
            loopback: (!request.no_loopback).then(|| self.loopback(address_v4)),
            ephemeral_range,
            policy: request.policy.clone(),
            memberships: Vec::new(),
            direct: request.direct,
            created: Instant::now(),
            sessions: HashMap::new(),
            programs: Arc::default(),
            inside: None,
            gone: watch::channel(false).0,
        };
        state.hosts.insert(name.clone(), record);
        let networks = request.networks.clone();
        Ok(Reserved { name, serial, address_v4, address_v6, ephemeral_range, networks })
    }

    /// Addresses that neither a host nor a guest has.
    pub(super) fn free_addresses(&self, state: &State) -> Result<(Ipv4Addr, Ipv6Addr), Problem> {
        let guests = state.guests.values().map(|guest| guest.address_v4);
        let used: Vec<Ipv4Addr> = state.hosts.values().map(|host| host.address_v4).chain(guests).collect();
        let numbers = host_numbers(self.addresses.prefix_v4);
        let free = numbers.clone().map(|number| self.numbered(number)).find(|(v4, _)| !used.contains(v4));
        free.ok_or_else(|| {
            let title = format!("all {} addresses of network {} are in use", numbers.len(), self.network.name);
            with_fix(problem(ProblemKind::Exhausted, title), "end a host, or use another --network")
        })
    }

    /// The addresses with this number: that of the gateway, the first one, is 1.
    fn numbered(&self, number: u8) -> (Ipv4Addr, Ipv6Addr) {
        let v4 = Ipv4Addr::from_bits(self.network.gateway_v4.to_bits() - 1 + u32::from(number));
        let mut segments = self.network.gateway_v6.segments();
        // 10.77.0.12 and fd77::12: the same digits are easier on people, so the decimal ones are read as hexadecimal.
        let last = v4.octets()[3];
        segments[7] = u16::from_str_radix(&last.to_string(), 16).unwrap_or(u16::from(last));
        (v4, segments.into())
    }

    /// Holds the ports, then makes the namespace: what fails cheaply comes first.
    async fn make(
        self: &Arc<Self>,
        reserved: &Reserved,
        request: HostRequest,
        egress: Option<Egress>,
    ) -> Result<(Inside, Holding), Problem> {
        let holding = self.hold(&reserved.name, request.forwards).await?;
        let made = match self.make_namespace(reserved).await {
            Ok(made) => made,
            Err(failure) => {
                self.abandon(holding).await;
                return Err(failure);
            }
        };
        let NewHost { namespace, table, dumps, place } = made;
        let setup = HostSetup {
            serial: reserved.serial,
            name: reserved.name.clone(),
            addresses: vec![reserved.address_v4.into(), reserved.address_v6.into()],
            host_ports: request.host_ports,
            egress,
            sockets: table,
        };
        if self.plane.ask(|done| Command::AddHost(Box::new(setup), done)).await.is_err() {
            self.abandon(holding).await;
            return Err(ending());
        }
        let namespaces = namespace.namespaces;
        let enter = Enter { user: namespaces.user, network: namespaces.network, mount: namespaces.mount };
        let sockets = Arc::new(Mutex::new(dumps));
        Ok((Inside { enter, network_inode: namespace.network_inode, place, sockets }, holding))
    }

    async fn make_namespace(self: &Arc<Self>, reserved: &Reserved) -> Result<NewHost, Problem> {
        let config = HostConfig {
            name: reserved.name.clone(),
            address_v4: reserved.address_v4,
            address_v6: reserved.address_v6,
            ephemeral_range: reserved.ephemeral_range,
            resolv_conf: self.host_directory(&reserved.name).join("resolv.conf"),
        };
        let (control, networks) = (Arc::clone(self), reserved.networks.clone());
        blocking(move || {
            control.write_resolv_conf(&config.resolv_conf, &networks).map_err(internal)?;
            control.fabric.add_host(&config).map_err(agent_problem)
        })
        .await?
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
            (self.open_session_in(&mut state, &reserved.name)?, state.stopping.is_some())
        };
        warnings.into_iter().for_each(|warning| session.warn(warning));
        if stopping { Err(ending()) } else { Ok(session) }
    }

    /// Takes back the name of a host that could not be made.
    fn forget(&self, name: &str) {
        let _ = fs::remove_dir_all(self.host_directory(name));
        let mut state = self.state();
        let record = state.hosts.remove(name);
        // At once: nobody shall find a network without a host that does not end.
        self.stop_in_if_empty(&mut state);
        drop(state);
        self.names.send_modify(|()| ());
        if let Some(record) = record {
            record.gone.send_replace(true);
        }
    }

    /// Ends a host whose phase is `Ending`, or that can't be brought to run: flows, forwards, processes, namespace. `tell` is
    /// told when it is gone, with the processes that were still in it; or already when nothing of it runs, listens or sends
    /// for certain, while the kernel needs a moment longer.
    pub(super) async fn end_host(self: &Arc<Self>, name: &str, tell: oneshot::Sender<SessionEnd>) {
        let (serial, inside, addresses, programs) = {
            let mut state = self.state();
            let Some(host) = state.hosts.get_mut(name) else { return };
            // The other networks forget it now.
            host.memberships.clear();
            (host.serial, host.inside.clone(), host.addresses(), Arc::clone(&host.programs))
        };
        let mut ended = Vec::new();
        let deserted = programs.none_is_left().await;
        // What its programs had sent when they ended is delivered. Then nothing of ours keeps the namespace.
        let drained = self.plane.ask(|done| Command::DrainHost(serial, done));
        if deserted {
            let _ = tokio::join!(self.close_host(serial), drained);
        } else {
            ended = self.end_programs(name, serial, inside).await;
            let _ = drained.await;
        }
        let contested = self.state().release_forwards_of(name);
        let _ = self.plane.ask(|done| Command::RemoveHost(serial, done)).await;
        self.retake(&contested).await;
        if let Some(host) = self.state().hosts.get_mut(name) {
            host.phase = Phase::Deserted;
        }
        let end = SessionEnd { host_gone: true, ended };
        if deserted {
            let _ = tell.send(end);
            self.remove_host(name, addresses).await;
        } else {
            self.remove_host(name, addresses).await;
            let _ = tell.send(end);
        }
    }

    /// Frees the ports.
    async fn close_host(&self, serial: u32) {
        let given_back = self.plane.ask(|done| Command::CloseHost(serial, done)).await.unwrap_or_default();
        if !given_back.is_empty() {
            // Closing thousands of sockets takes a while.
            let _ = blocking(move || drop(given_back)).await;
        }
    }

    /// Ends the processes of a host, after its ports are free. Returns which there were.
    async fn end_programs(self: &Arc<Self>, name: &str, serial: u32, inside: Option<Inside>) -> Vec<Process> {
        let (control, owned) = (Arc::clone(self), name.to_owned());
        let ended = blocking(move || {
            let left = inside.map(|inside| processes(inside.network_inode)).unwrap_or_default();
            // Frees the ports while the processes have their grace.
            let (done, given_back) = oneshot::channel();
            control.plane.send(Command::CloseHost(serial, done));
            drop(given_back.blocking_recv());
            let _ = control.fabric.end_processes(&owned, GRACE);
            left
        });
        ended.await.unwrap_or_default()
    }

    /// Removes what is left of a host: its namespace, and its name.
    async fn remove_host(self: &Arc<Self>, name: &str, addresses: [IpAddr; 2]) {
        let (control, owned) = (Arc::clone(self), name.to_owned());
        let _ = blocking(move || {
            if let Err(error) = control.fabric.remove_host(&owned) {
                tracing::warn!(%error, host = owned, "the agent could not remove the host");
            }
        })
        .await;
        // What its processes began since then ends before the next host gets the addresses.
        let _ = self.plane.ask(|done| Command::EndFlows(addresses.to_vec(), done)).await;
        let contested = self.state().release_forwards_of(name);
        self.retake(&contested).await;
        self.direct.forget_host(name);
        // What the end of its processes has released is told before its own.
        let control = Arc::clone(self);
        let _ = blocking(move || control.look()).await;
        let had_begun = self.state().hosts.get(name).is_some_and(|host| host.inside.is_some());
        if had_begun {
            self.events.tell(|| Happening::HostEnded { host: name.to_owned() });
        }
        self.forget(name);
    }

    /// Ends every host as with its last session, all at once. Returns when there is none, or after [`PATIENCE`].
    pub(crate) async fn end_all_hosts(self: &Arc<Self>) {
        let mut gone = Vec::new();
        {
            let mut state = self.state();
            for (name, host) in &mut state.hosts {
                gone.push(host.gone.subscribe());
                if host.phase == Phase::Running {
                    host.phase = Phase::Ending;
                    let (control, name) = (Arc::clone(self), name.clone());
                    tokio::spawn(async move { control.end_host(&name, oneshot::channel().0).await });
                }
            }
        }
        let all = async {
            for mut gone in gone {
                let _ = gone.wait_for(|gone| *gone).await;
            }
        };
        if tokio::time::timeout(PATIENCE, all).await.is_err() {
            tracing::warn!("not every host has ended in time");
        }
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

    fn host_directory(&self, name: &str) -> PathBuf {
        self.directory.join("hosts").join(name)
    }

    /// The gateway answers names.
    fn write_resolv_conf(&self, path: &std::path::Path, joined: &[String]) -> std::io::Result<()> {
        let machine = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let gateway = [self.network.gateway_v4.into(), self.network.gateway_v6.into()];
        let text = resolv_conf::of_host(&self.network.name, joined, gateway, &machine);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(path, text)
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

/// The numbers that hosts of a subnet have, at most as many as differ in the last byte of the address: 0 is the subnet's own,
/// 1 the gateway's, and the last one is for broadcasts.
fn host_numbers(prefix: u8) -> std::ops::RangeInclusive<u8> {
    let last = u32::MAX.checked_shr(prefix.into()).unwrap_or(0).saturating_sub(1).min(254);
    2..=u8::try_from(last).unwrap_or(254)
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
pub(super) fn processes(network_inode: u64) -> Vec<Process> {
    describe(process::in_network(network_inode))
}

fn describe(pids: Vec<u32>) -> Vec<Process> {
    pids.into_iter().filter_map(process::describe).map(convert::process).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_has_room_for_what_its_size_allows() {
        assert_eq!(host_numbers(24), 2..=254);
        assert_eq!(host_numbers(16), 2..=254, "no more, for the sake of the last byte");
        assert_eq!(host_numbers(26), 2..=62);
        assert_eq!(host_numbers(29), 2..=6);
    }
}
