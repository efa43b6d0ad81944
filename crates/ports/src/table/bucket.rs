use super::{BindAddress, BindRequest, ReservationId, SocketState};
use crate::Transport;

/// All that a verdict depends on, apart from the port. Reservations with equal claims are interchangeable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    transport: Transport,
    address: BindAddress,
    reuse_address: bool,
    reuse_port: bool,
    uid: u32,
    state: SocketState,
}

/// The reservations of one port, grouped by claim: a server's many connections are one group, so a verdict takes as
/// long as there are different claims.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    groups: Vec<Group>,
}

#[derive(Debug)]
struct Group {
    claim: Claim,
    members: Vec<ReservationId>,
}

/// Where in a bucket a reservation is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    group: u32,
    member: u32,
}

impl Claim {
    pub(super) fn new(request: &BindRequest, state: SocketState) -> Claim {
        Claim {
            transport: request.binding.transport,
            address: request.binding.address,
            reuse_address: request.reuse_address,
            reuse_port: request.reuse_port,
            uid: request.uid,
            state,
        }
    }

    /// Whether a socket with this claim may not be where `held` is.
    fn conflicts_with(&self, held: &Claim) -> bool {
        self.address.overlaps(held.address) && !self.shares_by_address(held) && !self.shares_by_port(held)
    }

    /// socket(7), `SO_REUSEADDR`: both must have it, and for TCP the one that is there must not be listening.
    fn shares_by_address(&self, held: &Claim) -> bool {
        self.reuse_address && held.reuse_address && held.state != SocketState::Listening
    }

    /// socket(7), `SO_REUSEPORT`: both must have it and be of one user. Observed: in TIME-WAIT the user does not matter.
    fn shares_by_port(&self, held: &Claim) -> bool {
        self.reuse_port && held.reuse_port && (self.uid == held.uid || held.state == SocketState::TimeWait)
    }
}

impl Bucket {
    /// A reservation, other than `except`, beside which a socket with this claim may not be.
    pub(super) fn conflict(&self, claim: &Claim, except: Option<ReservationId>) -> Option<ReservationId> {
        let groups = self.groups.iter().filter(|group| claim.conflicts_with(&group.claim));
        groups.flat_map(|group| &group.members).copied().find(|id| Some(*id) != except)
    }

    pub(super) fn insert(&mut self, claim: Claim, id: ReservationId) -> Place {
        let existing = self.groups.iter().position(|group| group.claim == claim);
        // Emptied groups are taken over, not removed, so that places stay valid.
        let group = existing.or_else(|| self.groups.iter().position(|group| group.members.is_empty()));
        let group = group.unwrap_or_else(|| {
            self.groups.push(Group { claim, members: Vec::new() });
            self.groups.len() - 1
        });
        let Group { claim: held, members } = &mut self.groups[group];
        *held = claim;
        members.push(id);
        Place { group: group as u32, member: members.len() as u32 - 1 }
    }

    /// Removes what is at `place`; returns the reservation that is there from now on.
    pub(super) fn remove(&mut self, place: Place) -> Option<ReservationId> {
        let members = &mut self.groups[place.group as usize].members;
        members.swap_remove(place.member as usize);
        members.get(place.member as usize).copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.iter().all(|group| group.members.is_empty())
    }

    pub(super) fn members(&self) -> impl Iterator<Item = ReservationId> {
        self.groups.iter().flat_map(|group| &group.members).copied()
    }
}
