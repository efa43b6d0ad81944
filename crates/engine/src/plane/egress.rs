//! What leaves the network is held to the policy of its host. A refusal is answered as soon as it is known who tried, which
//! can only be told while the program waits for the answer; but nobody waits for that longer than a moment.

mod words;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use minato_inspect as inspect;
use minato_ports::Transport;
use minato_relay::{Destination, Egress, EgressVerdict, IdleQueue, Target};
use minato_transport::{EchoRequest, IncomingId, Unreachable};
use slab::Slab;

use super::Plane;
use super::outbound::Answer;
use super::resolver::Asker;
use words::{about_destination, about_name};

/// How long the answer to what is refused waits for the search for its process.
const SEARCH: Duration = Duration::from_millis(20);
/// Most answers that wait.
const MAX_HELD: usize = 64;
/// Most refusals that are told in a second; others are counted.
const TOLD: u32 = 50;
/// How long the machine's own addresses are known.
const OWN_FOR: Duration = Duration::from_secs(1);

/// A refusal that is to be told: to the log, and to who wants to hear of events.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) key: RefusalKey,
    /// Serial number of the host.
    pub(crate) host: u32,
    /// Whose socket has these ends is to be found out: transport, its own, the other.
    pub(crate) ends: Option<(Transport, SocketAddr, SocketAddr)>,
    /// Without the process.
    pub(crate) refusal: inspect::EgressRefusal,
}

/// Place and serial number of a refusal whose answer waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RefusalKey {
    place: usize,
    serial: u64,
}

/// What is refused.
#[derive(Debug)]
enum Refused {
    Request(IncomingId),
    Datagram(SocketAddr, SocketAddr),
    Echo(EchoRequest),
    /// A question, and the answer to it.
    Question(Asker, Vec<u8>, Vec<u8>),
}

/// A refusal whose answer waits.
#[derive(Debug)]
struct Held {
    serial: u64,
    since: Instant,
    /// The host's address.
    source: IpAddr,
    refused: Refused,
}

/// Which address is whose, and the policies of those hosts that have one.
#[derive(Debug)]
pub(super) struct Policies {
    /// By serial number.
    hosts: HashMap<u32, Egress>,
    /// By the addresses of all hosts, which the engine gave out. Looked up for each new flow. What comes from another
    /// address is refused, since no policy could be found for it.
    serials: HashMap<IpAddr, u32>,
    /// Refusals whose answer waits.
    held: Slab<Held>,
    deadlines: IdleQueue<(usize, u64)>,
    serial: u64,
    reports: Sender<Report>,
    /// How many were told in the second that began then, and how many not since.
    told: (Instant, u32),
    untold: u64,
    /// The machine's own addresses, and when it was looked; `None` as long as no policy has asked for them.
    own: Option<(Instant, Vec<IpAddr>)>,
}

impl Policies {
    pub(super) fn new(now: Instant, reports: Sender<Report>) -> Policies {
        Policies {
            hosts: HashMap::new(),
            serials: HashMap::new(),
            held: Slab::new(),
            deadlines: IdleQueue::new(SEARCH),
            serial: 0,
            reports,
            told: (now, 0),
            untold: 0,
            own: None,
        }
    }

    /// A host without a policy may reach everything.
    pub(super) fn add(&mut self, serial: u32, addresses: &[IpAddr], egress: Option<Egress>) {
        self.hosts.extend(egress.map(|egress| (serial, egress)));
        self.serials.extend(addresses.iter().map(|address| (*address, serial)));
    }

    pub(super) fn remove(&mut self, serial: u32) {
        self.hosts.remove(&serial);
        self.serials.retain(|_, other| *other != serial);
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadlines.deadline()
    }

    /// Whether the address was given to a host.
    fn is_given(&self, source: IpAddr) -> bool {
        self.serials.contains_key(&source)
    }

    /// The host, or guest, that has this address.
    pub(super) fn serial_at(&self, address: IpAddr) -> Option<u32> {
        self.serials.get(&address).copied()
    }

    fn of(&self, source: IpAddr) -> Option<(u32, &Egress)> {
        let serial = self.serial_at(source)?;
        Some((serial, self.hosts.get(&serial)?))
    }

    fn of_mut(&mut self, source: IpAddr) -> Option<&mut Egress> {
        self.hosts.get_mut(self.serials.get(&source)?)
    }

    pub(super) fn flow_begins(&mut self, now: Instant, source: IpAddr, destination: IpAddr) {
        if let Some(egress) = self.of_mut(source) {
            egress.flow_begins(now, destination);
        }
    }

    pub(super) fn flow_ends(&mut self, now: Instant, source: IpAddr, destination: IpAddr) {
        if let Some(egress) = self.of_mut(source) {
            egress.flow_ends(now, destination);
        }
    }

    /// Whether one more may be told in this second.
    fn may_tell(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.told.0) >= Duration::from_secs(1) {
            self.told = (now, 0);
        }
        let may = self.told.1 < TOLD && self.held.len() < MAX_HELD;
        self.told.1 += u32::from(may);
        may
    }

    fn is_own(&mut self, now: Instant, address: IpAddr) -> bool {
        let known = self.own.take().filter(|(looked, _)| now.saturating_duration_since(*looked) < OWN_FOR);
        let (_, own) = self.own.insert(known.unwrap_or_else(|| (now, own_addresses())));
        own.contains(&address)
    }
}

fn own_addresses() -> Vec<IpAddr> {
    let found =
        minato_host::routes::addresses().inspect_err(|error| tracing::warn!(%error, "can't read own addresses"));
    found.unwrap_or_default().iter().map(|own| own.address).collect()
}

impl Plane {
    /// Whether the policy of the request's host lets it pass. If not, it is being refused.
    pub(super) fn lets_request_pass(&mut self, id: IncomingId, source: SocketAddr, destination: SocketAddr) -> bool {
        self.lets_pass(source, destination, Some(Transport::Tcp), || Refused::Request(id))
    }

    /// The same for the first datagram between two ends.
    pub(super) fn lets_datagram_pass(&mut self, source: SocketAddr, destination: SocketAddr) -> bool {
        self.lets_pass(source, destination, Some(Transport::Udp), || Refused::Datagram(source, destination))
    }

    /// The same for an echo request.
    pub(super) fn lets_echo_pass(&mut self, request: &EchoRequest) -> bool {
        let (source, destination) = (SocketAddr::new(request.source, 0), SocketAddr::new(request.destination, 0));
        self.lets_pass(source, destination, None, || Refused::Echo(request.clone()))
    }

    /// What all of them have in common; without a transport the ports are 0.
    fn lets_pass(
        &mut self,
        source: SocketAddr,
        destination: SocketAddr,
        transport: Option<Transport>,
        refused: impl FnOnce() -> Refused,
    ) -> bool {
        if !self.policies.is_given(source.ip()) {
            self.answer_refused(refused());
            return false;
        }
        let Some((host, refusal)) = self.refusal(source.ip(), destination, transport) else { return true };
        let ends = transport.map(|transport| (transport, source, destination));
        self.refuse(host, source.ip(), refused(), ends, refusal);
        false
    }

    /// Whether a connection may be made that does not pass here. It counts as a flow that ends at once.
    pub(super) fn admits(&mut self, source: IpAddr, destination: SocketAddr) -> bool {
        let admitted =
            self.policies.is_given(source) && self.refusal(source, destination, Some(Transport::Tcp)).is_none();
        if admitted {
            self.policies.flow_begins(self.now, source, destination.ip());
            self.policies.flow_ends(self.now, source, destination.ip());
        }
        admitted
    }

    /// Why the policy of a host refuses a destination. What is opened to it at the gateway is no business of the policy.
    fn refusal(
        &self,
        source: IpAddr,
        destination: SocketAddr,
        transport: Option<Transport>,
    ) -> Option<(u32, inspect::EgressRefusal)> {
        let (host, egress) = self.policies.of(source)?;
        if self.rules.network().is_gateway(destination.ip()) {
            return None;
        }
        let port = transport.map(|transport| (transport, destination.port()));
        let to = Destination { address: destination.ip(), port };
        match egress.judge(self.now, to) {
            EgressVerdict::Admitted(_) => None,
            EgressVerdict::Refused(refusal) => Some((host, about_destination(self.host_name(host), to, refusal))),
        }
    }

    fn host_name(&self, serial: u32) -> String {
        let host = self.hosts.get(&serial).map(|host| &host.name);
        host.or_else(|| self.guests.get(&serial).map(|guest| &guest.name)).cloned().unwrap_or_default()
    }

    /// Whether a host may ask what a name means. If not, it is being refused with `answer`.
    pub(super) fn lets_question_pass(
        &mut self,
        asker: Asker,
        labels: &[&[u8]],
        question: &[u8],
        answer: impl FnOnce(&str) -> Vec<u8>,
    ) -> bool {
        let Some(client) = self.client_of(asker) else { return true };
        if !self.policies.is_given(client.ip()) {
            let answer = answer("the address that asks was given to no host");
            self.answer_refused(Refused::Question(asker, question.to_vec(), answer));
            return false;
        }
        let Some((host, _)) = self.policies.of(client.ip()).filter(|(_, egress)| !egress.may_ask(labels)) else {
            return true;
        };
        let refusal = about_name(self.host_name(host), labels);
        let refused = Refused::Question(asker, question.to_vec(), answer(&refusal.reason));
        let transport = match asker {
            Asker::Datagram { .. } => Transport::Udp,
            Asker::Stream(_) => Transport::Tcp,
        };
        let server = SocketAddr::new(self.rules.network().gateway_like(client.ip()), minato_relay::DOMAIN);
        self.refuse(host, client.ip(), refused, Some((transport, client, server)), refusal);
        false
    }

    /// Has a refusal told, and answers it when that is done, or at once if there are too many.
    fn refuse(
        &mut self,
        host: u32,
        source: IpAddr,
        refused: Refused,
        ends: Option<(Transport, SocketAddr, SocketAddr)>,
        mut refusal: inspect::EgressRefusal,
    ) {
        if !self.policies.may_tell(self.now) {
            self.policies.untold += 1;
            return self.answer_refused(refused);
        }
        refusal.untold = std::mem::take(&mut self.policies.untold);
        let policies = &mut self.policies;
        policies.serial += 1;
        let serial = policies.serial;
        let place = policies.held.insert(Held { serial, since: self.now, source, refused });
        let key = RefusalKey { place, serial };
        policies.deadlines.add(self.now, (key.place, serial));
        if policies.reports.send(Report { key, host, ends, refusal }).is_err() {
            self.told_of_refusal(key);
        }
    }

    /// The search for the process is over.
    pub(super) fn told_of_refusal(&mut self, key: RefusalKey) {
        if self.policies.held.get(key.place).is_some_and(|held| held.serial == key.serial) {
            let held = self.policies.held.remove(key.place);
            self.answer_refused(held.refused);
        }
    }

    pub(super) fn expire_refusals(&mut self) {
        loop {
            let Policies { held, deadlines, .. } = &mut self.policies;
            let since = |(place, serial)| held.get(place).filter(|held| held.serial == serial).map(|held| held.since);
            let Some((place, serial)) = deadlines.expire(self.now, since) else { return };
            self.told_of_refusal(RefusalKey { place, serial });
        }
    }

    /// Forgets what is held of a host that goes away.
    pub(super) fn end_refusals_of(&mut self, addresses: &[IpAddr]) {
        self.policies.held.retain(|_, held| !addresses.contains(&held.source));
    }

    fn answer_refused(&mut self, refused: Refused) {
        match refused {
            Refused::Request(id) => self.stack.refuse_incoming(self.now, id),
            Refused::Datagram(source, destination) => {
                self.answer_datagram(source, destination, Answer::Icmp(Unreachable::Prohibited));
            }
            Refused::Echo(request) => self.stack.echo_unreachable(self.now, &request, Unreachable::Prohibited),
            Refused::Question(asker, question, answer) => self.answer_question(asker, &question, answer),
        }
    }

    /// A host was told that a name leads to these addresses.
    pub(super) fn learn_addresses(&mut self, source: IpAddr, labels: &[&[u8]], addresses: &[(IpAddr, Duration)]) {
        for (address, lifetime) in addresses {
            let fit = self.rules.may_be_named(*address) && !self.policies.is_own(self.now, *address);
            if let Some(egress) = self.policies.of_mut(source) {
                egress.learn(self.now, labels, *address, *lifetime, fit);
            }
        }
    }

    /// Whether a policy is in force for the host at this address.
    pub(super) fn has_policy(&self, source: IpAddr) -> bool {
        self.policies.of(source).is_some()
    }

    /// What the policy of a host says about a place.
    pub(super) fn judge(&self, serial: u32, place: &Place, port: Option<(Transport, u16)>) -> inspect::EgressVerdict {
        let open = Egress::new(true, Vec::new(), Vec::new());
        let egress = self.policies.hosts.get(&serial).unwrap_or(&open);
        let host = self.host_name(serial);
        match place {
            Place::Name(name) => {
                let labels: Vec<&[u8]> = name.trim_end_matches('.').split('.').map(str::as_bytes).collect();
                words::verdict(&host, egress.judge_name(&labels, port), |_| {
                    let mut refusal = about_name(host.clone(), &labels);
                    if egress.may_ask(&labels) {
                        refusal = words::about_port(refusal, name, port);
                    }
                    refusal
                })
            }
            Place::Address(address) => {
                let to = Destination { address: *address, port };
                let source = self
                    .hosts
                    .get(&serial)
                    .and_then(|host| host.addresses.iter().copied().find(|own| own.is_ipv4() == address.is_ipv4()));
                let target = source.map(|source| self.rules.echo_target(source, *address));
                if let Some(Target::Refuse(_)) = target
                    && !self.rules.network().contains(*address)
                {
                    return words::unreachable(*address);
                }
                words::verdict(&host, egress.judge(self.now, to), |refusal| {
                    about_destination(host.clone(), to, refusal)
                })
            }
        }
    }
}

/// What may be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Address(IpAddr),
    Name(String),
}
