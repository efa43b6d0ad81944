use std::collections::BTreeMap;
use std::iter;

use smallvec::SmallVec;

use super::{BindAddress, BindRequest, Family, ReservationId, SocketState};
use crate::Transport;

/// All that a verdict depends on, apart from the port. Reservations with equal claims are interchangeable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    transport: Transport,
    address: BindAddress,
    family: Family,
    reuse_address: bool,
    reuse_port: bool,
    uid: u32,
    state: SocketState,
}

/// Where a socket stands in the order in which Linux looks at the UDP sockets of a port, the first being the greatest.
/// Observed: the newest comes first, except that IPv6 sockets with `SO_REUSEPORT` come after all others, the oldest
/// first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sequence(i64);

impl Sequence {
    /// `number` counts up with every binding.
    pub(super) fn of(request: &BindRequest, number: u64) -> Sequence {
        let last = request.reuse_port && request.family != Family::V4;
        Sequence(if last { -(number as i64) } else { number as i64 })
    }
}

/// The reservations of one port, grouped by claim: a server's many connections are one group, so a verdict takes as
/// long as there are different claims.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// Nearly always one.
    groups: SmallVec<[Group; 1]>,
    /// Few have one.
    last_sharer: Option<Box<Sharer>>,
}

/// At least one reservation. A port that a client has chosen has no more, so the first is not in the map.
#[derive(Debug)]
struct Group {
    claim: Claim,
    /// Comes before all of the map.
    first: (Sequence, ReservationId),
    rest: BTreeMap<Sequence, ReservationId>,
}

/// The last TCP socket that has passed with `SO_REUSEPORT`. Observed: Linux lets another such socket of the same user
/// pass at the same address without looking at the rest of the port, whoever else may have come there by
/// `SO_REUSEADDR`. A socket that passes without `SO_REUSEPORT` ends that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sharer {
    uid: u32,
    /// Where it was bound and by what socket; `None` if it was the first on the port, which opens every address.
    place: Option<(BindAddress, Family)>,
}

impl Claim {
    pub(super) fn new(request: &BindRequest, state: SocketState) -> Claim {
        Claim {
            transport: request.binding.transport,
            address: request.binding.address,
            family: request.family,
            reuse_address: request.reuse_address,
            reuse_port: request.reuse_port,
            uid: request.uid,
            state,
        }
    }

    /// Whether the addresses could receive the same packet, or Linux thinks so. Observed: for the IPv4 wildcard, an IPv6
    /// socket without `IPV6_V6ONLY` counts as one that takes IPv4, even when a connection has given it an IPv6 address.
    fn meets(&self, held: &Claim) -> bool {
        let as_v4 = self.address == BindAddress::ANY_V4 && self.family == Family::V4;
        self.address.overlaps(held.address) || (as_v4 && held.family == Family::V6 { only: false })
    }

    /// ip(7), ipv6(7): whether the addresses leave the two to be told apart, or `SO_REUSEADDR` says not to mind.
    /// socket(7): both must have it, and for TCP the one that is there must not be listening.
    fn is_clear_of(&self, held: &Claim) -> bool {
        !self.meets(held) || (self.reuse_address && held.reuse_address && held.state != SocketState::Listening)
    }

    /// socket(7), `SO_REUSEPORT`: both must have it and be of one user. Observed: in TIME-WAIT the user does not matter.
    fn shares_port_with(&self, held: &Claim) -> bool {
        self.reuse_port && held.reuse_port && (self.uid == held.uid || held.state == SocketState::TimeWait)
    }
}

impl Bucket {
    /// A reservation, other than `except`, beside which a socket with this claim may not be.
    pub(super) fn conflict(&self, claim: &Claim, except: Option<ReservationId>) -> Option<ReservationId> {
        let rivals = self.groups.iter().filter(|group| !claim.is_clear_of(&group.claim));
        match claim.transport {
            Transport::Tcp if self.last_sharer.as_ref().is_some_and(|sharer| sharer.admits(claim)) => None,
            Transport::Tcp => {
                let mut in_the_way = rivals.filter(|group| !claim.shares_port_with(&group.claim));
                in_the_way.find_map(|group| group.members().find(|id| Some(*id) != except))
            }
            // Observed: of the sockets that could be in the way, the first alone decides.
            Transport::Udp => {
                let first = rivals.max_by_key(|group| group.last().0)?;
                (!claim.shares_port_with(&first.claim)).then(|| first.last().1)
            }
        }
    }

    /// Remembers that a claim has passed as a new binding or a new listener. To be called before it is inserted.
    pub(super) fn note_passed(&mut self, claim: &Claim) {
        if !claim.reuse_port {
            self.last_sharer = None;
        } else if !self.last_sharer.as_ref().is_some_and(|sharer| sharer.admits(claim)) {
            let place = (!self.is_empty()).then_some((claim.address, claim.family));
            self.last_sharer = Some(Box::new(Sharer { uid: claim.uid, place }));
        }
    }

    pub(super) fn insert(&mut self, claim: Claim, sequence: Sequence, id: ReservationId) {
        match self.groups.iter_mut().find(|group| group.claim == claim) {
            Some(group) => group.insert((sequence, id)),
            None => self.groups.push(Group { claim, first: (sequence, id), rest: BTreeMap::new() }),
        }
    }

    pub(super) fn remove(&mut self, claim: &Claim, sequence: Sequence) {
        let index = self.groups.iter().position(|group| group.claim == *claim).expect("what was inserted");
        let group = &mut self.groups[index];
        if group.first.0 != sequence {
            group.rest.remove(&sequence).expect("what was inserted");
        } else if let Some(next) = group.rest.pop_first() {
            group.first = next;
        } else {
            self.groups.swap_remove(index);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    pub(super) fn members(&self) -> impl Iterator<Item = ReservationId> {
        self.groups.iter().flat_map(Group::members)
    }
}

impl Group {
    fn insert(&mut self, mut member: (Sequence, ReservationId)) {
        if member.0 < self.first.0 {
            std::mem::swap(&mut member, &mut self.first);
        }
        self.rest.insert(member.0, member.1);
    }

    fn last(&self) -> (Sequence, ReservationId) {
        self.rest.last_key_value().map_or(self.first, |(sequence, id)| (*sequence, *id))
    }

    fn members(&self) -> impl Iterator<Item = ReservationId> {
        iter::once(self.first.1).chain(self.rest.values().copied())
    }
}

impl Sharer {
    fn admits(&self, claim: &Claim) -> bool {
        claim.reuse_port
            && claim.uid == self.uid
            && self.place.is_none_or(|(address, family)| {
                // Observed: beside an IPv4 socket, an IPv6 socket counts as an IPv4 one unless it has IPV6_V6ONLY.
                let as_v4 = family == Family::V4 && claim.family != Family::V6 { only: true };
                address.covers(claim.address) || (as_v4 && address.is_wildcard())
            })
    }
}
