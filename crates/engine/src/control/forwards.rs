//! Forwards: holding ports of the machine, all of a request or none.

mod expand;
mod records;
pub(super) mod refuse;

use std::collections::HashSet;
use std::sync::Arc;

use minato_host::sockets::{HeldPort, HoldError, udp_bind};
use minato_inspect::{Forward, ForwardRequest, ForwardSpec, Problem, ProblemKind};
use minato_ports::{BindRequest, PortTable, Reservation, Transport};
use tokio::sync::oneshot;

use super::loopback::End;
use super::{Control, HostRecord, blocking, no_such_host};
use crate::plane::{Command, GivenBack, HeldForward, HeldSocket, take_datagrams};
use crate::problem::{ending, problem};
pub(super) use expand::Wanted;
pub(crate) use expand::collapse;
use expand::expand;
pub(super) use records::ForwardRecord;

/// Ports that are held and not yet in force. Their reservations have to be given back by [`Control::abandon`] unless
/// they are put in force.
#[derive(Default)]
pub(super) struct Holding {
    held: Vec<Held>,
    warnings: Vec<String>,
    /// Hosts' own ports that have gone for these.
    gave_way: HashSet<End>,
}

pub(super) struct Held {
    wanted: Wanted,
    socket: HeldSocket,
    reservation: Reservation,
}

impl Holding {
    pub(super) fn add(&mut self, held: Held) {
        self.held.push(held);
    }

    /// What is held, in the order of the IDs that [`Control::hand_over`] returns.
    pub(super) fn wanted(&self) -> impl Iterator<Item = &Wanted> {
        self.held.iter().map(|held| &held.wanted)
    }
}

impl Control {
    /// Adds forwards to a host: all of them or none.
    pub(crate) async fn add_forwards(self: &Arc<Self>, request: ForwardRequest) -> Result<Vec<Forward>, Problem> {
        let serial = self.state().running(&request.host)?.0.serial;
        let holding = self.hold(&request.host, request.forwards).await?;
        let (ids, _warnings) = self.put_in_force(serial, &request.host, holding).await?;
        let added = self.forwards_with(&ids).await?;
        // The host may have ended since.
        if added.len() == ids.len() { Ok(added) } else { Err(no_such_host(&request.host)) }
    }

    /// Removes forwards of a host: all of them or, when one does not exist, none. Their connections end.
    pub(crate) async fn remove_forwards(self: &Arc<Self>, request: ForwardRequest) -> Result<Vec<Forward>, Problem> {
        let wanted = self.expand(request.forwards).await?;
        let ids = {
            let state = self.state();
            state.running(&request.host)?;
            state.find_forwards(&request.host, &wanted)?
        };
        let removed = self.forwards_with(&ids).await?;
        let contested = self.give_back(&ids, Command::RemoveForwards).await?;
        self.retake(&contested).await;
        Ok(removed)
    }

    /// Has the packet loop end forwards by `command`, and frees their ports. Returns those at which they may have been in
    /// the way of hosts' own.
    pub(super) async fn give_back(
        &self,
        ids: &[u64],
        command: fn(Vec<u64>, oneshot::Sender<GivenBack>) -> Command,
    ) -> Result<HashSet<End>, Problem> {
        let sockets = self.plane.ask(|done| command(ids.to_vec(), done)).await.map_err(|_| ending())?;
        blocking(move || drop(sockets)).await?;
        Ok(self.state().release_forwards(ids))
    }

    /// Every forward with its state and counters.
    pub(crate) async fn forwards(&self) -> Result<Vec<Forward>, Problem> {
        let statuses = self.plane.ask(Command::Forwards).await.map_err(|_| ending())?;
        let state = self.state();
        let mut forwards: Vec<Forward> = statuses.iter().filter_map(|status| state.show_forward(status)).collect();
        forwards.sort_by_key(|forward| forward.id);
        Ok(forwards)
    }

    async fn forwards_with(&self, ids: &[u64]) -> Result<Vec<Forward>, Problem> {
        let ids: HashSet<u64> = ids.iter().copied().collect();
        let statuses = self.plane.ask(Command::Forwards).await.map_err(|_| ending())?;
        let state = self.state();
        let wanted = statuses.iter().filter(|status| ids.contains(&status.id));
        let mut forwards: Vec<Forward> = wanted.filter_map(|status| state.show_forward(status)).collect();
        forwards.sort_by_key(|forward| forward.id);
        Ok(forwards)
    }

    /// Holds the ports that these forwards name, for a host.
    pub(super) async fn hold(self: &Arc<Self>, host: &str, specs: Vec<ForwardSpec>) -> Result<Holding, Problem> {
        if specs.is_empty() {
            return Ok(Holding::default());
        }
        let wanted = self.expand(specs).await?;
        let gave_way = self.make_way(&wanted).await;
        let control = Arc::clone(self);
        let host = host.to_owned();
        match blocking(move || control.hold_all(&host, wanted)).await.flatten() {
            Ok(holding) => Ok(Holding { gave_way, ..holding }),
            Err(problem) => {
                self.retake(&gave_way).await;
                Err(problem)
            }
        }
    }

    /// The single forwards that these name, not more than there may be in total.
    async fn expand(&self, specs: Vec<ForwardSpec>) -> Result<Vec<Wanted>, Problem> {
        let max = self.state().max_forwards;
        blocking(move || expand(&specs, max)).await?
    }

    fn hold_all(&self, host: &str, wanted: Vec<Wanted>) -> Result<Holding, Problem> {
        let mut holding = Holding::default();
        let others = self.state().forwards.len();
        let max = self.state().max_forwards;
        if others + wanted.len() > max {
            return Err(refuse::too_many(others, wanted.len(), max));
        }
        for wanted in wanted {
            match self.hold_one(host, wanted) {
                Ok(held) => holding.add(held),
                Err(Refused::NoIpv6) => holding.warnings.push(refuse::without_ipv6(wanted)),
                Err(Refused::Because(failure)) => {
                    self.release(holding);
                    return Err(*failure);
                }
            }
        }
        Ok(holding)
    }

    /// Holds one port, or names another one that could be had.
    fn hold_one(&self, host: &str, wanted: Wanted) -> Result<Held, Refused> {
        self.take_port(host, wanted).map_err(|taken| match taken {
            Taken::ByForward(owner) => {
                let in_the_way = self.state().forward_in_the_way(wanted);
                let conflict = refuse::held_by_forward(wanted, &owner, in_the_way);
                Refused::because(self.with_free_port(conflict, wanted))
            }
            Taken::ByMachine(error) if is_missing_ipv6(&wanted, &error) => Refused::NoIpv6,
            Taken::ByMachine(error) => {
                let in_use = matches!(error, HoldError::InUse(_));
                let failure = refuse::by_machine(wanted, error);
                Refused::because(if in_use { self.with_free_port(failure, wanted) } else { failure })
            }
        })
    }

    /// Takes one port: our own table decides first, then the machine's kernel.
    pub(super) fn take_port(&self, host: &str, wanted: Wanted) -> Result<Held, Taken> {
        let reserved = self.state().table.reserve(wanted.bind_request(), host.to_owned());
        let reservation = reserved.map_err(|error| Taken::ByForward(error.holder.owner))?;
        match bind(wanted) {
            Ok(socket) => Ok(Held { wanted, socket, reservation }),
            Err(error) => {
                self.state().table.release(reservation);
                Err(Taken::ByMachine(error))
            }
        }
    }

    /// Names the next port that could be had instead.
    fn with_free_port(&self, failure: Problem, wanted: Wanted) -> Problem {
        let unreserved = |port: &u16| {
            let state = self.state();
            wanted.at(*port).iter().all(|other| state.table.check(&other.bind_request()).is_ok())
        };
        let is_free = |other: &Wanted| match bind(*other) {
            Ok(_) => true,
            Err(error) => is_missing_ipv6(other, &error),
        };
        let free = |port: &u16| wanted.at(*port).iter().all(is_free);
        // Our own table is asked for nothing, the kernel is not.
        let mut candidates = (wanted.address.port()..=u16::MAX).skip(1).filter(unreserved).take(256);
        match candidates.find(free) {
            Some(port) => refuse::with_port(failure, wanted, port),
            None => failure,
        }
    }

    /// Gives back what was held in vain, and what had gone for it.
    pub(super) async fn abandon(self: &Arc<Self>, holding: Holding) {
        let gave_way = self.release(holding);
        self.retake(&gave_way).await;
    }

    /// Gives back what was held, and says what had gone for it.
    fn release(&self, holding: Holding) -> HashSet<End> {
        let mut state = self.state();
        for Held { socket, reservation, .. } in holding.held {
            drop(socket);
            state.table.release(reservation);
        }
        holding.gave_way
    }

    /// As [`Control::hand_over`]. What had gone for nothing comes back.
    pub(super) async fn put_in_force(
        self: &Arc<Self>,
        serial: u32,
        host: &str,
        mut holding: Holding,
    ) -> Result<(Vec<u64>, Vec<String>), Problem> {
        let gave_way = std::mem::take(&mut holding.gave_way);
        let result = self.hand_over(serial, host, holding).await;
        if result.is_err() {
            self.retake(&gave_way).await;
        }
        result
    }

    /// Puts forwards in force, unless their host has begun to end. Returns their IDs, and what the user should know about
    /// them.
    pub(super) async fn hand_over(
        &self,
        serial: u32,
        host: &str,
        holding: Holding,
    ) -> Result<(Vec<u64>, Vec<String>), Problem> {
        let mut forwards = Vec::with_capacity(holding.held.len());
        let warnings = {
            let mut state = self.state();
            // From here on the host's end finds them among the records.
            let is_there = |host: &HostRecord| host.serial == serial && !host.phase.is_ending();
            if !state.hosts.get(host).is_some_and(is_there) {
                drop(state);
                self.release(holding);
                return Err(no_such_host(host));
            }
            for Held { wanted, socket, reservation } in holding.held {
                let Wanted { address, service_port, transport, automatic, .. } = wanted;
                let id = state.next_forward;
                state.next_forward += 1;
                let host = host.to_owned();
                let record = ForwardRecord { host, address, service_port, transport, automatic, reservation };
                state.forwards.insert(id, record);
                forwards.push(HeldForward { id, address, service_port, socket });
            }
            holding.warnings
        };
        if forwards.is_empty() {
            return Ok((Vec::new(), warnings));
        }
        let ids = forwards.iter().map(|forward| forward.id).collect();
        let added = self.plane.ask(|done| Command::AddForwards(serial, forwards, done)).await;
        added.map(|()| (ids, warnings)).map_err(|_| ending())
    }
}

/// Who else has a port.
pub(super) enum Taken {
    /// A forward to the host of this name.
    ByForward(String),
    ByMachine(HoldError),
}

/// Why a port is not held.
enum Refused {
    /// It was one of the two loopback addresses, and this machine has no IPv6.
    NoIpv6,
    Because(Box<Problem>),
}

impl Refused {
    fn because(failure: Problem) -> Refused {
        Refused::Because(Box::new(failure))
    }
}

impl Wanted {
    fn bind_request(&self) -> BindRequest {
        BindRequest::new(self.transport, self.address.ip(), self.port).v6only(true)
    }
}

/// Whether this is ::1, which nobody has asked for, on a machine without IPv6.
fn is_missing_ipv6(wanted: &Wanted, error: &HoldError) -> bool {
    matches!(error, HoldError::NoSuchAddress(_)) && wanted.is_default && wanted.address.is_ipv6()
}

fn bind(wanted: Wanted) -> Result<HeldSocket, HoldError> {
    match wanted.transport {
        Transport::Tcp => HeldPort::hold(wanted.address).map(HeldSocket::Tcp),
        Transport::Udp => udp_bind(wanted.address).inspect(take_datagrams).map(HeldSocket::Udp),
    }
}

/// Refuses forwards of one request that are in each other's way; `wanted` is what they expand to.
fn check_apart(specs: &[ForwardSpec], wanted: &[Wanted]) -> Result<(), Problem> {
    // One range names each port once.
    if specs.len() < 2 {
        return Ok(());
    }
    let mut table = PortTable::new();
    for one in wanted {
        if let Err(error) = table.reserve(one.bind_request(), ()) {
            let (port, other) = (error.requested.port, error.holder.request.binding);
            let title = format!("port {port}/{} is asked for twice: {} and {other}", one.transport, one.address);
            return Err(problem(ProblemKind::Usage, title));
        }
    }
    Ok(())
}
