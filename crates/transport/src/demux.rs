//! Who gets a segment: one look-up by both ends, then by port, then the rule for the rest.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::hash::KeyedState;

/// Both ends of a flow. An IPv4 address is never held as an IPv4-mapped one: callers' are made canonical, and such addresses
/// never come from the wire (`wire::ip::is_allowed_on_link`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FourTuple {
    local: IpAddr,
    remote: IpAddr,
    ports: [u16; 2],
}

/// Two words for IPv4 and five for IPv6; which is which cannot be confused, since the number of words counts.
impl Hash for FourTuple {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let ports = u64::from(self.ports[0]) << 16 | u64::from(self.ports[1]);
        if let (IpAddr::V4(local), IpAddr::V4(remote)) = (self.local, self.remote) {
            state.write_u64(u64::from(local.to_bits()) << 32 | u64::from(remote.to_bits()));
            state.write_u64(ports);
        } else {
            for address in [self.local, self.remote] {
                let bits = match address {
                    IpAddr::V4(address) => u128::from(address.to_bits()),
                    IpAddr::V6(address) => address.to_bits(),
                };
                state.write_u64((bits >> 64) as u64);
                state.write_u64(bits as u64);
            }
            state.write_u64(ports);
        }
    }
}

impl FourTuple {
    pub(crate) fn new(local: SocketAddr, remote: SocketAddr) -> FourTuple {
        FourTuple { local: local.ip(), remote: remote.ip(), ports: [local.port(), remote.port()] }
    }

    pub(crate) fn is_ipv6(&self) -> bool {
        self.local.is_ipv6()
    }

    pub(crate) fn local(&self) -> SocketAddr {
        SocketAddr::new(self.local, self.ports[0])
    }

    pub(crate) fn remote(&self) -> SocketAddr {
        SocketAddr::new(self.remote, self.ports[1])
    }
}

/// Whose the flow is: an index into the table of that kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Connection(u32),
    TimeWait(u32),
    Incoming(u32),
}

/// Who gets a segment that belongs to no flow, most specific first (this order is the precedence).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Somebody listens on the address and port, or on the port of any own address.
    Listener(u32),
    /// Nobody.
    None,
}

/// The indexes.
#[derive(Debug)]
pub(crate) struct Demux {
    /// By both ends: TCP connections, TIME-WAIT, held requests. Remote parties choose the keys, so the hasher is keyed.
    flows: HashMap<FourTuple, Owner, KeyedState>,
    /// The flow found last: segments come in trains, and a comparison is cheaper than a keyed hash.
    recent: Option<(FourTuple, Owner)>,
    /// TCP.
    pub(crate) listeners: Places,
    /// UDP.
    pub(crate) sockets: Places,
    /// Which of several that share a place gets a flow is not for its sender to choose.
    choice: KeyedState,
}

/// Sockets by the address and port that they are bound to. Keys are our own, but what is looked up is not.
#[derive(Debug)]
pub(crate) struct Places {
    /// Those that share a place (`SO_REUSEPORT`) in the order in which they came.
    sockets: HashMap<SocketAddr, Vec<u32>, KeyedState>,
}

impl Places {
    fn new(state: KeyedState) -> Places {
        Places { sockets: HashMap::with_hasher(state) }
    }

    /// `dual`: `[::]` means the addresses of both families.
    pub(crate) fn insert(&mut self, local: SocketAddr, dual: bool, socket: u32) {
        for place in places_of(local, dual) {
            self.sockets.entry(place).or_default().push(socket);
        }
    }

    pub(crate) fn remove(&mut self, local: SocketAddr, dual: bool, socket: u32) {
        for place in places_of(local, dual) {
            if let Entry::Occupied(mut entry) = self.sockets.entry(place) {
                entry.get_mut().retain(|other| *other != socket);
                if entry.get().is_empty() {
                    entry.remove();
                }
            }
        }
    }

    /// Those bound right there.
    pub(crate) fn at(&self, local: &SocketAddr) -> &[u32] {
        self.sockets.get(local).map_or(&[], Vec::as_slice)
    }

    /// Those bound to the port of all addresses.
    pub(crate) fn at_any(&self, local: &SocketAddr) -> &[u32] {
        self.at(&unspecified(*local))
    }
}

fn places_of(local: SocketAddr, dual: bool) -> impl Iterator<Item = SocketAddr> {
    let other = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), local.port());
    std::iter::once(local).chain(dual.then_some(other))
}

impl Demux {
    pub(crate) fn new(key: &[u8; 16]) -> Demux {
        let state = KeyedState::new(key, b'd');
        Demux {
            flows: HashMap::with_hasher(state.clone()),
            recent: None,
            listeners: Places::new(state.clone()),
            sockets: Places::new(state),
            choice: KeyedState::new(key, b'p'),
        }
    }

    /// Who has the flow between these ends: the first look-up, and the only one for nearly all segments.
    pub(crate) fn lookup(&mut self, tuple: &FourTuple) -> Option<Owner> {
        if let Some((recent, owner)) = &self.recent
            && recent == tuple
        {
            return Some(*owner);
        }
        let owner = *self.flows.get(tuple)?;
        self.recent = Some((*tuple, owner));
        Some(owner)
    }

    /// Who gets what belongs to no flow. `own` says whether the local address is the stack's, so that listeners on all
    /// addresses take it.
    pub(crate) fn lookup_listener(&self, tuple: &FourTuple, own: bool) -> Target {
        if self.listeners.sockets.is_empty() {
            return Target::None;
        }
        let local = tuple.local();
        let group = match self.listeners.at(&local) {
            [] if own => self.listeners.at_any(&local),
            group => group,
        };
        self.choose(tuple, group).map_or(Target::None, Target::Listener)
    }

    /// One of several that share a place, always the same for the same flow.
    pub(crate) fn choose(&self, tuple: &FourTuple, group: &[u32]) -> Option<u32> {
        match group {
            [] => None,
            [only] => Some(*only),
            _ => group.get((self.choice.hash_one(tuple) % group.len() as u64) as usize).copied(),
        }
    }

    pub(crate) fn flow(&self, tuple: &FourTuple) -> Option<Owner> {
        self.flows.get(tuple).copied()
    }

    pub(crate) fn insert(&mut self, tuple: FourTuple, owner: Owner) {
        // Its next segment is most often the next of all.
        self.recent = Some((tuple, owner));
        self.flows.insert(tuple, owner);
    }

    /// Removes the flow if it is still `owner`'s.
    pub(crate) fn remove(&mut self, tuple: &FourTuple, owner: Owner) {
        if self.recent.is_some_and(|(recent, current)| recent == *tuple && current != owner) {
            return;
        }
        if let Entry::Occupied(entry) = self.flows.entry(*tuple)
            && *entry.get() == owner
        {
            self.recent = None;
            entry.remove();
        }
    }
}

fn unspecified(local: SocketAddr) -> SocketAddr {
    let any = match local {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(any, local.port())
}
