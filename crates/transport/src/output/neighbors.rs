//! Station addresses of neighbours (RFC 826, RFC 4861 §7.3), and what waits for them.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;

use crate::hash::KeyedState;
use crate::time::{Interval, Time};
use crate::types::MacAddress;

/// Time between two questions for the same neighbour (RFC 4861 §10 RETRANS_TIMER).
const QUESTION_INTERVAL: Interval = Interval::from_secs(1);

/// Questions until a neighbour counts as absent (RFC 4861 §10 MAX_MULTICAST_SOLICIT).
const QUESTIONS: u8 = 3;

/// Age at which an address that is used is asked for again.
const STALE_AFTER: Interval = Interval::from_secs(60);

/// Frames that wait for one neighbour; the oldest makes room (RFC 4861 §7.2.2 asks for at least one). A large datagram in
/// fragments finds room.
const HELD_FRAMES: usize = 64;

/// Where the cache is full, the oldest of so many makes room: whose place in the table is near is secret.
const VICTIM_CANDIDATES: usize = 16;

/// A connection that waits for a neighbour, by index and generation.
pub(crate) type Waiter = (u32, u32);

/// The neighbour cache. Keyed by address; the keyed hasher is there because guests choose their addresses.
#[derive(Debug)]
pub(crate) struct Neighbors {
    entries: HashMap<IpAddr, Entry, KeyedState>,
    limit: usize,
    /// Bytes of all frames that wait.
    held_bytes: usize,
    held_bytes_max: usize,
    /// Counts changes, after which nothing that was said before need be true.
    pub(crate) changes: u64,
    /// Not later than the earliest question that is due.
    next: Option<Time>,
    /// Connections whose neighbour is found, for the stack to wake.
    pub(crate) found: Vec<Waiter>,
    /// Connections whose neighbour does not answer, for the stack to tell.
    pub(crate) absent: Vec<Waiter>,
    /// Frames whose neighbour does not answer, as above.
    pub(crate) undeliverable: Vec<Vec<u8>>,
    /// Frames whose neighbour is found, for the queue.
    pub(crate) released: Vec<(MacAddress, bool, Vec<u8>)>,
}

#[derive(Debug)]
enum Entry {
    /// Until `until` it need not be asked (RFC 4861 §7.3.2: REACHABLE, then STALE).
    Known {
        station: MacAddress,
        until: Time,
        asked: Option<Time>,
        questions: u8,
    },
    Asked {
        questions: u8,
        next: Time,
        frames: VecDeque<Vec<u8>>,
        waiters: BTreeSet<Waiter>,
    },
}

impl Entry {
    /// When it was last of use: confirmed, or asked.
    fn heard(&self) -> Time {
        match self {
            Entry::Known { until, .. } => *until,
            Entry::Asked { next, .. } => *next,
        }
    }
}

/// How a neighbour was heard of (RFC 4861 §7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hearing {
    /// It answered us, and says whether its answer goes before what is known: it is reachable there.
    Answer { overrides: bool },
    /// It told everybody, and says whether that goes before what is known.
    Announcement { overrides: bool },
    /// It asked us for our own address.
    Question,
}

/// What is known about a neighbour; `solicit` means that it shall be asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolution {
    /// `until` is when it must be confirmed, if nothing changes before.
    Known {
        station: MacAddress,
        solicit: bool,
        until: Time,
    },
    Pending {
        solicit: bool,
    },
}

impl Neighbors {
    /// At most `limit` neighbours, for whom at most `held_bytes_max` bytes of frames wait.
    pub(crate) fn new(key: KeyedState, limit: usize, held_bytes_max: usize) -> Neighbors {
        Neighbors {
            entries: HashMap::with_hasher(key),
            limit,
            held_bytes: 0,
            held_bytes_max,
            changes: 0,
            next: None,
            found: Vec::new(),
            absent: Vec::new(),
            undeliverable: Vec::new(),
            released: Vec::new(),
        }
    }

    pub(crate) fn resolve(&mut self, now: Time, address: IpAddr) -> Resolution {
        match self.entries.get_mut(&address) {
            Some(Entry::Known { station, until, asked, questions }) => {
                let (station, until) = (*station, *until);
                if now < until {
                    return Resolution::Known { station, solicit: false, until };
                }
                let due = asked.is_none_or(|asked| now.since(asked) >= QUESTION_INTERVAL);
                if due && *questions >= QUESTIONS {
                    self.ask(now, address);
                    return Resolution::Pending { solicit: true };
                }
                if due {
                    *asked = Some(now);
                    *questions += 1;
                }
                Resolution::Known { station, solicit: due, until }
            }
            Some(Entry::Asked { .. }) => Resolution::Pending { solicit: false },
            None => {
                self.make_room();
                self.ask(now, address);
                Resolution::Pending { solicit: true }
            }
        }
    }

    fn ask(&mut self, now: Time, address: IpAddr) {
        let next = now + QUESTION_INTERVAL;
        self.changes += 1;
        let entry = Entry::Asked { questions: 1, next, frames: VecDeque::new(), waiters: BTreeSet::new() };
        self.entries.insert(address, entry);
        self.next = Some(self.next.map_or(next, |earliest| earliest.min(next)));
    }

    fn make_room(&mut self) {
        if self.entries.len() < self.limit {
            return;
        }
        let oldest = self.entries.iter().take(VICTIM_CANDIDATES).min_by_key(|(_, entry)| entry.heard());
        if let Some(victim) = oldest.map(|(address, _)| *address)
            && let Some(Entry::Asked { waiters, frames, .. }) = self.entries.remove(&victim)
        {
            self.held_bytes -= bytes_of(&frames);
            self.absent.extend(waiters);
        }
    }

    /// Holds a frame until `address`, which is being asked, answers. Whether there was room.
    pub(crate) fn hold(&mut self, address: IpAddr, frame: Vec<u8>) -> bool {
        let Some(Entry::Asked { frames, .. }) = self.entries.get_mut(&address) else { return false };
        if frames.len() == HELD_FRAMES {
            self.held_bytes -= frames.pop_front().map_or(0, |oldest| oldest.len());
        }
        let fits = self.held_bytes + frame.len() <= self.held_bytes_max;
        if fits {
            self.held_bytes += frame.len();
            frames.push_back(frame);
        }
        fits
    }

    /// Bytes of all frames that wait.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Wakes a connection when `address`, which is being asked, answers.
    pub(crate) fn wait(&mut self, address: IpAddr, waiter: Waiter) {
        if let Some(Entry::Asked { waiters, .. }) = self.entries.get_mut(&address) {
            waiters.insert(waiter);
        }
    }

    /// Notes what a neighbour said about itself (RFC 4861 §7.2.3, §7.2.5; RFC 826). Only a question makes an entry: answers and
    /// announcements of neighbours that nobody needed so far are ignored.
    pub(crate) fn learn(&mut self, now: Time, address: IpAddr, station: MacAddress, hearing: Hearing) {
        if !station.is_unicast() {
            return;
        }
        let overrides = match hearing {
            Hearing::Answer { overrides } | Hearing::Announcement { overrides } => overrides,
            Hearing::Question => true,
        };
        let reachable = if matches!(hearing, Hearing::Answer { .. }) { now + STALE_AFTER } else { now };
        let until = match self.entries.get_mut(&address) {
            Some(Entry::Known { station: known, until, .. }) if *known != station && !overrides => {
                // Two claim the address: the one that is known stays, and is asked again.
                *until = now.min(*until);
                self.changes += 1;
                return;
            }
            // What is known already is confirmed by an answer, and by nothing else.
            Some(Entry::Known { station: known, until, .. }) if *known == station => reachable.max(*until),
            Some(_) => reachable,
            None if hearing == Hearing::Question => {
                self.make_room();
                reachable
            }
            None => return,
        };
        self.changes += 1;
        let known = Entry::Known { station, until, asked: None, questions: 0 };
        if let Some(Entry::Asked { frames, waiters, .. }) = self.entries.insert(address, known) {
            self.held_bytes -= bytes_of(&frames);
            self.found.extend(waiters);
            let ipv6 = address.is_ipv6();
            self.released.extend(frames.into_iter().map(|frame| (station, ipv6, frame)));
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.next
    }

    /// The neighbours to ask again now. Those that never answered are forgotten.
    pub(crate) fn handle_timeout(&mut self, now: Time) -> Vec<IpAddr> {
        if self.next.is_none_or(|next| next > now) {
            return Vec::new();
        }
        let mut again = Vec::new();
        let mut earliest: Option<Time> = None;
        let (absent, undeliverable) = (&mut self.absent, &mut self.undeliverable);
        let held_bytes = &mut self.held_bytes;
        self.entries.retain(|address, entry| {
            let Entry::Asked { questions, next, waiters, frames } = entry else { return true };
            if *next <= now {
                if *questions >= QUESTIONS {
                    absent.extend(std::mem::take(waiters));
                    *held_bytes -= bytes_of(frames);
                    undeliverable.extend(std::mem::take(frames));
                    return false;
                }
                *questions += 1;
                *next = now + QUESTION_INTERVAL;
                again.push(*address);
            }
            earliest = Some(earliest.map_or(*next, |earliest| earliest.min(*next)));
            true
        });
        self.next = earliest;
        again
    }
}

fn bytes_of(frames: &VecDeque<Vec<u8>>) -> usize {
    frames.iter().map(Vec::len).sum()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{HELD_FRAMES, Hearing, Neighbors};
    use crate::hash::KeyedState;
    use crate::time::{Interval, Time};
    use crate::types::MacAddress;

    #[test]
    fn frames_for_neighbours_that_never_answer_are_bounded_together() {
        let now = Time::START;
        let mut neighbors = Neighbors::new(KeyedState::new(&[1; 16], b'n'), 100, 50_000);
        let address = |number: u8| IpAddr::from([10, 0, 0, number]);
        let mut held = 0;
        for number in 1..=50 {
            neighbors.resolve(now, address(number));
            for _ in 0..2 * HELD_FRAMES {
                held += usize::from(neighbors.hold(address(number), vec![0; 100]));
            }
        }
        assert_eq!(neighbors.held_bytes(), 50_000);
        assert!(held >= 500, "{held}");
        // One answers and the others do not: nothing is left.
        neighbors.learn(now, address(1), MacAddress([2; 6]), Hearing::Answer { overrides: true });
        assert_eq!(neighbors.released.len(), HELD_FRAMES);
        assert_eq!(neighbors.held_bytes(), 50_000 - 100 * HELD_FRAMES);
        for second in 1..=3 {
            neighbors.handle_timeout(now + Interval::from_secs(second));
        }
        assert_eq!(neighbors.held_bytes(), 0);
    }
}
