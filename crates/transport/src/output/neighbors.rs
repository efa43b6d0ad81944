//! Station addresses of neighbours (RFC 826, RFC 4861 §7.3), and what waits for them.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::hash::KeyedState;
use crate::types::MacAddress;

/// Time between two questions for the same neighbour (RFC 4861 §10 RETRANS_TIMER).
const QUESTION_INTERVAL: Duration = Duration::from_secs(1);

/// Questions until a neighbour counts as absent (RFC 4861 §10 MAX_MULTICAST_SOLICIT).
const QUESTIONS: u8 = 3;

/// Age at which an address that is used is asked for again.
const STALE_AFTER: Duration = Duration::from_secs(60);

/// Frames that wait for one neighbour; the oldest makes room (RFC 4861 §7.2.2 asks for at least one).
const HELD_FRAMES: usize = 64;

/// A connection that waits for a neighbour, by index and generation.
pub(crate) type Waiter = (u32, u32);

/// The neighbour cache. Keyed by address; the keyed hasher is there because guests choose their addresses.
#[derive(Debug)]
pub(crate) struct Neighbors {
    entries: HashMap<IpAddr, Entry, KeyedState>,
    limit: usize,
    /// Not later than the earliest question that is due.
    next: Option<Instant>,
    /// Connections whose neighbour is found, for the stack to wake.
    pub(crate) found: Vec<Waiter>,
    /// Connections whose neighbour does not answer, for the stack to tell.
    pub(crate) absent: Vec<Waiter>,
    /// Frames whose neighbour is found, for the queue.
    pub(crate) released: Vec<(MacAddress, bool, Vec<u8>)>,
}

#[derive(Debug)]
enum Entry {
    Known { station: MacAddress, confirmed: Instant, asked: Option<Instant>, questions: u8 },
    Asked { questions: u8, next: Instant, frames: VecDeque<Vec<u8>>, waiters: Vec<Waiter> },
}

/// What is known about a neighbour; `solicit` means that it shall be asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolution {
    Known { station: MacAddress, solicit: bool },
    Pending { solicit: bool },
}

impl Neighbors {
    pub(crate) fn new(key: KeyedState, limit: usize) -> Neighbors {
        Neighbors {
            entries: HashMap::with_hasher(key),
            limit,
            next: None,
            found: Vec::new(),
            absent: Vec::new(),
            released: Vec::new(),
        }
    }

    pub(crate) fn resolve(&mut self, now: Instant, address: IpAddr) -> Resolution {
        match self.entries.get_mut(&address) {
            Some(Entry::Known { station, confirmed, asked, questions }) => {
                let station = *station;
                if now.saturating_duration_since(*confirmed) < STALE_AFTER {
                    return Resolution::Known { station, solicit: false };
                }
                let due = asked.is_none_or(|asked| now.saturating_duration_since(asked) >= QUESTION_INTERVAL);
                if due && *questions >= QUESTIONS {
                    self.ask(now, address);
                    return Resolution::Pending { solicit: true };
                }
                if due {
                    *asked = Some(now);
                    *questions += 1;
                }
                Resolution::Known { station, solicit: due }
            }
            Some(Entry::Asked { .. }) => Resolution::Pending { solicit: false },
            None => {
                self.make_room();
                self.ask(now, address);
                Resolution::Pending { solicit: true }
            }
        }
    }

    fn ask(&mut self, now: Instant, address: IpAddr) {
        let next = now + QUESTION_INTERVAL;
        let entry = Entry::Asked { questions: 1, next, frames: VecDeque::new(), waiters: Vec::new() };
        self.entries.insert(address, entry);
        self.next = Some(self.next.map_or(next, |earliest| earliest.min(next)));
    }

    fn make_room(&mut self) {
        if self.entries.len() < self.limit {
            return;
        }
        if let Some(victim) = self.entries.keys().next().copied()
            && let Some(Entry::Asked { waiters, .. }) = self.entries.remove(&victim)
        {
            self.absent.extend(waiters);
        }
    }

    /// Holds a frame until `address`, which is being asked, answers.
    pub(crate) fn hold(&mut self, address: IpAddr, frame: Vec<u8>) {
        if let Some(Entry::Asked { frames, .. }) = self.entries.get_mut(&address) {
            if frames.len() == HELD_FRAMES {
                frames.pop_front();
            }
            frames.push_back(frame);
        }
    }

    /// Wakes a connection when `address`, which is being asked, answers.
    pub(crate) fn wait(&mut self, address: IpAddr, waiter: Waiter) {
        if let Some(Entry::Asked { waiters, .. }) = self.entries.get_mut(&address)
            && !waiters.contains(&waiter)
        {
            waiters.push(waiter);
        }
    }

    /// Notes what a neighbour said about itself. `only_known` ignores addresses that nobody needed so far.
    pub(crate) fn learn(&mut self, now: Instant, address: IpAddr, station: MacAddress, only_known: bool) {
        if !station.is_unicast() || (only_known && !self.entries.contains_key(&address)) {
            return;
        }
        if !self.entries.contains_key(&address) {
            self.make_room();
        }
        let known = Entry::Known { station, confirmed: now, asked: None, questions: 0 };
        if let Some(Entry::Asked { frames, waiters, .. }) = self.entries.insert(address, known) {
            self.found.extend(waiters);
            let ipv6 = address.is_ipv6();
            self.released.extend(frames.into_iter().map(|frame| (station, ipv6, frame)));
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// The neighbours to ask again now. Those that never answered are forgotten.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Vec<IpAddr> {
        if self.next.is_none_or(|next| next > now) {
            return Vec::new();
        }
        let mut again = Vec::new();
        let mut earliest: Option<Instant> = None;
        let absent = &mut self.absent;
        self.entries.retain(|address, entry| {
            let Entry::Asked { questions, next, waiters, .. } = entry else { return true };
            if *next <= now {
                if *questions >= QUESTIONS {
                    absent.append(waiters);
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
