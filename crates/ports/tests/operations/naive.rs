//! The rules of binding once more, as plainly as they can be said: a list of sockets in the order of their binding,
//! looked at one by one.

use std::net::IpAddr;

use minato_ports::{
    BindAddress, BindRequest, Family, Holder, PortTable, Reservation, ReserveError, SocketState, Transport,
};

#[derive(Default)]
pub(crate) struct Model {
    sockets: Vec<Entry>,
    /// What has passed `bind` or `listen` since the port was last free, oldest first, with whether it was the first.
    passed: Vec<(BindRequest, bool)>,
}

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    request: BindRequest,
    state: SocketState,
    owner: u32,
}

/// Addresses that stand for the ones a wildcard covers.
const WITNESSES: [&str; 5] = ["127.0.0.1", "127.0.0.2", "10.0.0.1", "::1", "fd00::2"];

impl Model {
    pub(crate) fn insert(&mut self, request: BindRequest, state: SocketState, owner: u32) {
        self.sockets.push(Entry { request, state, owner });
    }

    pub(crate) fn state(&self, which: usize) -> (BindRequest, SocketState) {
        (self.sockets[which].request, self.sockets[which].state)
    }

    pub(crate) fn set_state(&mut self, which: usize, state: SocketState) {
        self.sockets[which].state = state;
    }

    pub(crate) fn connect(&mut self, which: usize, local: IpAddr) {
        let entry = &mut self.sockets[which];
        entry.request = at(entry.request, local);
        entry.state = SocketState::Connected;
    }

    pub(crate) fn swap_remove(&mut self, which: usize) -> u32 {
        let gone = self.sockets.swap_remove(which);
        let place = |request: &BindRequest| (request.binding.transport, request.binding.port);
        if !self.sockets.iter().any(|entry| place(&entry.request) == place(&gone.request)) {
            self.passed.retain(|(request, _)| place(request) != place(&gone.request));
        }
        gone.owner
    }

    /// The table's verdict on a bind or, with `itself`, on a listen must be ours, and the holder it names must be one that
    /// is in the way.
    pub(crate) fn agree(&mut self, request: &BindRequest, itself: Option<usize>, refused: Option<&ReserveError<u32>>) {
        let in_the_way = self.in_the_way(request, itself);
        match refused {
            None => {
                assert!(in_the_way.is_empty(), "{request:?} passed in spite of {in_the_way:?}");
                let first = !self.sockets.iter().any(|entry| same_port(&entry.request, request));
                self.passed.push((*request, first));
            }
            Some(error) => {
                assert_eq!(error.requested, request.binding);
                let named = in_the_way.iter().any(|entry| entry.owner == error.holder.owner);
                assert!(named, "{request:?} refused for {:?}, but {in_the_way:?}", error.holder);
            }
        }
    }

    fn in_the_way(&self, request: &BindRequest, itself: Option<usize>) -> Vec<Entry> {
        let others = self.sockets.iter().enumerate().filter(|(index, _)| Some(*index) != itself);
        let mut rivals: Vec<Entry> =
            others.map(|(_, entry)| entry.clone()).filter(|entry| is_rival(request, entry)).collect();
        let shares = |entry: &Entry| {
            let held = &entry.request;
            request.reuse_port && held.reuse_port && (held.uid == request.uid || entry.state == SocketState::TimeWait)
        };
        match request.binding.transport {
            Transport::Tcp if self.is_let_through(request) => Vec::new(),
            Transport::Tcp => rivals.into_iter().filter(|entry| !shares(entry)).collect(),
            Transport::Udp => {
                let is_last = |entry: &Entry| entry.request.reuse_port && entry.request.family != Family::V4;
                // Owners are numbered in the order of binding.
                rivals.sort_by_key(|entry| {
                    (is_last(entry), if is_last(entry) { entry.owner } else { u32::MAX - entry.owner })
                });
                rivals.truncate(1);
                rivals.into_iter().filter(|entry| !shares(entry)).collect()
            }
        }
    }

    /// Follows the last run of sockets that passed with `SO_REUSEPORT`.
    fn is_let_through(&self, request: &BindRequest) -> bool {
        let mut sharer: Option<(BindRequest, bool)> = None;
        for (passed, first) in self.passed.iter().filter(|(passed, _)| same_port(passed, request)) {
            if !passed.reuse_port {
                sharer = None;
            } else if !sharer.is_some_and(|(sharer, first)| lets_through(&sharer, first, passed)) {
                sharer = Some((*passed, *first));
            }
        }
        sharer.is_some_and(|(sharer, first)| lets_through(&sharer, first, request))
    }

    /// The table must hold exactly our sockets.
    pub(crate) fn compare(&self, table: &PortTable<u32>, tokens: &[Reservation]) {
        assert_eq!(table.len(), self.sockets.len());
        let mut listed: Vec<&Holder<u32>> = table.iter().collect();
        listed.sort_by_key(|holder| holder.owner);
        let mut expected: Vec<_> = self.sockets.clone();
        expected.sort_by_key(|entry| entry.owner);
        let entry = |holder: &&Holder<u32>| Entry { request: holder.request, state: holder.state, owner: holder.owner };
        assert_eq!(listed.iter().map(entry).collect::<Vec<_>>(), expected);
        for (token, socket) in tokens.iter().zip(&self.sockets) {
            let holder = table.get(token.id()).expect("held");
            assert_eq!((holder.id, holder.owner), (token.id(), socket.owner));
            let binding = socket.request.binding;
            assert!(table.at(binding.transport, binding.port).any(|other| other.id == token.id()));
        }
    }
}

/// The request with the local address that a connection has given it.
pub(crate) fn at(mut request: BindRequest, local: IpAddr) -> BindRequest {
    if request.binding.address.is_wildcard() {
        request.binding.address = BindAddress::new(local, true);
    }
    request
}

fn same_port(a: &BindRequest, b: &BindRequest) -> bool {
    (a.binding.transport, a.binding.port) == (b.binding.transport, b.binding.port)
}

/// Whether the two could get the same packet and don't both say that they don't mind.
fn is_rival(new: &BindRequest, held: &Entry) -> bool {
    let (a, b) = (new.binding, held.request.binding);
    let witnesses = WITNESSES.iter().map(|witness| witness.parse::<IpAddr>().expect("an address"));
    let meet = witnesses.into_iter().any(|witness| covers(a.address, witness) && covers(b.address, witness));
    let once_dual = held.request.family == Family::V6 { only: false };
    let meet = meet || (new.family == Family::V4 && a.address == BindAddress::ANY_V4 && once_dual);
    let reuse = new.reuse_address && held.request.reuse_address && held.state != SocketState::Listening;
    same_port(new, &held.request) && meet && !reuse
}

fn lets_through(sharer: &BindRequest, was_first: bool, new: &BindRequest) -> bool {
    let (from, to) = (sharer.binding.address, new.binding.address);
    let at_its_address = was_first
        || from == to
        || match (sharer.family, from.ip()) {
            (_, from) if !from.is_unspecified() => false,
            (Family::V4, _) => new.family != Family::V6 { only: true },
            (Family::V6 { .. }, IpAddr::V4(_)) => to.ip().is_ipv4(),
            (Family::V6 { only }, IpAddr::V6(_)) => !only || to.ip().is_ipv6(),
        };
    new.reuse_port && new.uid == sharer.uid && at_its_address
}

fn covers(address: BindAddress, witness: IpAddr) -> bool {
    match (address.ip(), witness) {
        (IpAddr::V4(bound), IpAddr::V4(witness)) => bound.is_unspecified() || bound == witness,
        (IpAddr::V6(bound), IpAddr::V6(witness)) => bound.is_unspecified() || bound == witness,
        (IpAddr::V6(bound), IpAddr::V4(_)) => bound.is_unspecified() && address.is_dual_stack(),
        (IpAddr::V4(_), IpAddr::V6(_)) => false,
    }
}
