//! The port table: who may bind which address and port.
//!
//! The rules are those of Linux's `bind(2)` and `listen(2)`, as `ip(7)`, `ipv6(7)` and `socket(7)` specify them and as
//! kernel 6.18 was observed to behave; docs/theory/ports.md tells them in full, tests/differential.rs compares.

mod address;
mod bucket;
mod error;
mod request;

use std::collections::BTreeMap;
use std::net::IpAddr;

pub use address::BindAddress;
pub use error::{Holder, ReserveError};
pub use request::{BindRequest, Binding, Family};

use crate::{Port, Transport};
use bucket::{Bucket, Claim, Sequence};

/// Bindings of one network stack, each with its owner.
///
/// A reservation is a token: it can't be copied, and giving it to [`release`](Self::release) is the only way to end
/// it. An operation that fails has changed nothing.
///
/// ```
/// use minato_ports::{BindRequest, Port, PortTable, Transport};
///
/// let port = Port::new(80).unwrap();
/// let mut table = PortTable::new();
/// let web = table.reserve(BindRequest::new(Transport::Tcp, "0.0.0.0".parse().unwrap(), port), "apache2").unwrap();
/// let second = BindRequest::new(Transport::Tcp, "127.0.0.1".parse().unwrap(), port);
/// let refused = table.reserve(second, "nginx").unwrap_err();
/// assert_eq!(refused.holder.owner, "apache2");
/// table.release(web);
/// table.reserve(second, "nginx").unwrap();
/// ```
#[derive(Debug)]
pub struct PortTable<O = ()> {
    slots: Vec<Slot<O>>,
    /// Slots without an entry, the last released last.
    vacant: Vec<u32>,
    /// Keyed by what is never shared. Used by every verdict; ordered, so that listings are. Boxed, since the map's nodes are
    /// often half empty.
    buckets: BTreeMap<(Transport, Port), Box<Bucket>>,
    /// How many there have ever been.
    bindings: u64,
}

#[derive(Debug)]
struct Slot<O> {
    /// Counts the entries that the slot has had; makes identifiers unique.
    generation: u32,
    entry: Option<Holder<O>>,
    /// When it was bound, relative to the others.
    sequence: Sequence,
}

/// The right to a binding, until it is given to [`PortTable::release`].
#[derive(Debug, PartialEq, Eq, Hash)]
#[must_use = "a reservation lasts until it is given to PortTable::release"]
pub struct Reservation(ReservationId);

/// Names a reservation without being the right to it. Never used twice in one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReservationId {
    index: u32,
    generation: u32,
}

/// What the socket behind a reservation does. Decides, with the options, whom it lets bind beside it.
///
/// | state | legal operations |
/// |---|---|
/// | `Bound` | `listen` → `Listening`, `connect` → `Connected`, `release` |
/// | `Listening` | `unlisten` → `Bound`, `accept` (a new `Connected` one), `release` |
/// | `Connected` | `time_wait` → `TimeWait`, `release` |
/// | `TimeWait` | `release` |
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SocketState {
    /// Bound, and no more. A UDP socket receives in this state.
    Bound,
    /// Takes connections.
    Listening,
    /// Has a peer.
    Connected,
    /// Has had one; the 4-tuple is kept back (RFC 9293 §3.6.1).
    TimeWait,
}

impl Reservation {
    /// The reservation's name.
    pub fn id(&self) -> ReservationId {
        self.0
    }
}

impl<O> Default for PortTable<O> {
    fn default() -> PortTable<O> {
        PortTable { slots: Vec::new(), vacant: Vec::new(), buckets: BTreeMap::new(), bindings: 0 }
    }
}

impl<O: Clone> PortTable<O> {
    /// The empty table.
    pub fn new() -> PortTable<O> {
        PortTable::default()
    }

    /// Binds: takes the address and port, or tells who stands in the way.
    pub fn reserve(&mut self, request: BindRequest, owner: O) -> Result<Reservation, ReserveError<O>> {
        self.check(&request)?;
        let claim = Claim::new(&request, SocketState::Bound);
        self.buckets.entry(request.binding.key()).or_default().note_passed(&claim);
        Ok(self.insert(request, SocketState::Bound, owner))
    }

    /// The verdict of [`reserve`](Self::reserve), without reserving.
    pub fn check(&self, request: &BindRequest) -> Result<(), ReserveError<O>> {
        self.verdict(&Claim::new(request, SocketState::Bound), request, None)
    }

    /// Lets a bound TCP socket take connections, or tells who stands in the way: two sockets that share a port by
    /// `SO_REUSEADDR` can't both listen. Listening already is no error.
    ///
    /// # Panics
    /// On UDP, which has no listening, and in other states than `Bound` and `Listening`.
    pub fn listen(&mut self, reservation: &Reservation) -> Result<(), ReserveError<O>> {
        let holder = self.held(reservation.0);
        assert_eq!(holder.request.binding.transport, Transport::Tcp, "only TCP sockets listen");
        if holder.state == SocketState::Listening {
            return Ok(());
        }
        assert_eq!(holder.state, SocketState::Bound, "only a bound socket listens");
        let request = holder.request;
        let claim = Claim::new(&request, SocketState::Listening);
        self.verdict(&claim, &request, Some(reservation.0))?;
        self.buckets.entry(request.binding.key()).or_default().note_passed(&claim);
        self.change(reservation.0, |holder| holder.state = SocketState::Listening);
        Ok(())
    }

    /// Takes no more connections and keeps the port, as `shutdown(SHUT_RD)` does.
    ///
    /// # Panics
    /// When the reservation is not listening.
    pub fn unlisten(&mut self, reservation: &Reservation) {
        assert_eq!(self.held(reservation.0).state, SocketState::Listening, "not listening");
        self.change(reservation.0, |holder| holder.state = SocketState::Bound);
    }

    /// A connection that a listener has accepted at its address `local`. It shares the listener's port and options,
    /// and keeps the port when the listener is gone.
    ///
    /// # Panics
    /// When the reservation is not listening.
    pub fn accept(&mut self, listener: &Reservation, local: IpAddr, owner: O) -> Reservation {
        let holder = self.held(listener.0);
        assert_eq!(holder.state, SocketState::Listening, "not listening");
        let mut request = holder.request;
        request.binding.address = request.binding.address.narrowed(local);
        self.insert(request, SocketState::Connected, owner)
    }

    /// The socket has got a peer, and with it the local address `local` if it had none.
    ///
    /// # Panics
    /// When the reservation is in another state than `Bound`.
    pub fn connect(&mut self, reservation: &Reservation, local: IpAddr) {
        assert_eq!(self.held(reservation.0).state, SocketState::Bound, "only a bound socket connects");
        self.change(reservation.0, |holder| {
            holder.state = SocketState::Connected;
            let address = &mut holder.request.binding.address;
            *address = address.narrowed(local);
        });
    }

    /// The connection has ended from this side and its port is held back. Release the reservation at TIME-WAIT's end.
    ///
    /// # Panics
    /// When the reservation is not a connected TCP socket.
    pub fn time_wait(&mut self, reservation: &Reservation) {
        let holder = self.held(reservation.0);
        assert_eq!(holder.state, SocketState::Connected, "only a connection has TIME-WAIT");
        assert_eq!(holder.request.binding.transport, Transport::Tcp, "only TCP has TIME-WAIT");
        self.change(reservation.0, |holder| holder.state = SocketState::TimeWait);
    }

    /// Ends a reservation and returns its owner.
    ///
    /// # Panics
    /// When the reservation is of another table.
    #[expect(clippy::needless_pass_by_value, reason = "the token ends here")]
    pub fn release(&mut self, reservation: Reservation) -> O {
        let id = reservation.0;
        self.detach(id);
        let slot = &mut self.slots[id.index as usize];
        let holder = slot.entry.take().expect("a reservation of this table");
        slot.generation += 1;
        self.vacant.push(id.index);
        holder.owner
    }

    /// What a reservation holds; `None` when it has ended.
    pub fn get(&self, id: ReservationId) -> Option<&Holder<O>> {
        let slot = self.slots.get(id.index as usize)?;
        slot.entry.as_ref().filter(|_| slot.generation == id.generation)
    }

    /// Everything that holds one port, in no particular order.
    pub fn at(&self, transport: Transport, port: Port) -> impl Iterator<Item = &Holder<O>> {
        let bucket = self.buckets.get(&(transport, port));
        bucket.into_iter().flat_map(|bucket| bucket.members()).filter_map(|id| self.get(id))
    }

    /// Everything, by transport and port.
    pub fn iter(&self) -> impl Iterator<Item = &Holder<O>> {
        self.buckets.values().flat_map(|bucket| bucket.members()).filter_map(|id| self.get(id))
    }

    /// How many reservations there are.
    pub fn len(&self) -> usize {
        self.slots.len() - self.vacant.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn held(&self, id: ReservationId) -> &Holder<O> {
        self.get(id).expect("a reservation of this table")
    }

    fn verdict(
        &self,
        claim: &Claim,
        request: &BindRequest,
        except: Option<ReservationId>,
    ) -> Result<(), ReserveError<O>> {
        let Some(bucket) = self.buckets.get(&request.binding.key()) else { return Ok(()) };
        match bucket.conflict(claim, except) {
            None => Ok(()),
            Some(id) => Err(ReserveError { requested: request.binding, holder: self.held(id).clone() }),
        }
    }

    fn insert(&mut self, request: BindRequest, state: SocketState, owner: O) -> Reservation {
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, entry: None, sequence: Sequence::default() });
            self.slots.len() as u32 - 1
        });
        self.bindings += 1;
        let sequence = Sequence::of(&request, self.bindings);
        let slot = &mut self.slots[index as usize];
        let id = ReservationId { index, generation: slot.generation };
        slot.entry = Some(Holder { id, request, state, owner });
        slot.sequence = sequence;
        self.attach(id);
        Reservation(id)
    }

    fn change(&mut self, id: ReservationId, change: impl FnOnce(&mut Holder<O>)) {
        // Its bucket may be empty in between and lives on with what it remembers: a change is never one of the port.
        let before = self.place(id);
        change(self.slots[id.index as usize].entry.as_mut().expect("checked by place"));
        let (key, claim, sequence) = self.place(id);
        let bucket = self.buckets.get_mut(&key).expect("every entry is in a bucket");
        bucket.remove(&before.1, sequence);
        bucket.insert(claim, sequence, id);
    }

    fn attach(&mut self, id: ReservationId) {
        let (key, claim, sequence) = self.place(id);
        self.buckets.entry(key).or_default().insert(claim, sequence, id);
    }

    fn detach(&mut self, id: ReservationId) {
        let (key, claim, sequence) = self.place(id);
        let bucket = self.buckets.get_mut(&key).expect("every entry is in a bucket");
        bucket.remove(&claim, sequence);
        if bucket.is_empty() {
            self.buckets.remove(&key);
        }
    }

    /// Where the indexes have an entry.
    fn place(&self, id: ReservationId) -> ((Transport, Port), Claim, Sequence) {
        let holder = self.held(id);
        let sequence = self.slots[id.index as usize].sequence;
        (holder.request.binding.key(), Claim::new(&holder.request, holder.state), sequence)
    }
}
