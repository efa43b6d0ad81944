use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Most addresses that one host can have for names.
const MAX_ADDRESSES: usize = 4096;
/// Most rules that one address can have by names.
const MAX_RULES: usize = 32;
/// How long an address is kept at least, after an answer and after a flow: programs keep addresses for longer than an answer
/// allows, and some of them for as long as they run.
const KEEP: Duration = Duration::from_secs(3600);

/// The addresses that a host was given for names that its rules allow.
#[derive(Debug, Default)]
pub(super) struct Granted {
    /// Keyed by what resolvers have answered: hence the standard, keyed hasher. Not more than [`MAX_ADDRESSES`].
    addresses: HashMap<IpAddr, Known>,
    /// How many flows go to addresses that are not among these, none of which is zero: a name may lead there while they last.
    others: HashMap<IpAddr, usize>,
}

/// An address.
#[derive(Debug)]
pub(super) struct Known {
    /// The name that led there last.
    pub(super) name: String,
    /// A name may lead there.
    pub(super) fit: bool,
    /// Places of the rules that are about a name of it, with the end of what was answered: none ends while there are flows. Not
    /// more than [`MAX_RULES`].
    rules: Vec<(usize, Instant)>,
    /// Flows that go there.
    flows: usize,
}

impl Known {
    /// Places of the rules that are about a name of it, and have not ended.
    pub(super) fn rules(&self, now: Instant) -> impl Iterator<Item = usize> {
        self.rules.iter().filter(move |(_, end)| self.flows > 0 || *end > now).map(|(rule, _)| *rule)
    }

    /// Forgets the rules that have ended, so that what comes next does not bring them back.
    fn forget_ended(&mut self, now: Instant) {
        if self.flows == 0 {
            self.rules.retain(|(_, end)| *end > now);
        }
    }

    fn end(&self) -> Option<Instant> {
        self.rules.iter().map(|(_, end)| *end).max()
    }

    fn is_over(&self, now: Instant) -> bool {
        self.flows == 0 && self.end().is_none_or(|end| end <= now)
    }
}

impl Granted {
    /// What is known of an address, unless it is over.
    pub(super) fn of(&self, now: Instant, address: IpAddr) -> Option<&Known> {
        self.addresses.get(&address).filter(|known| !known.is_over(now))
    }

    pub(super) fn add(
        &mut self,
        now: Instant,
        address: IpAddr,
        rules: &[usize],
        name: String,
        lifetime: Duration,
        fit: bool,
    ) {
        if self.addresses.len() >= MAX_ADDRESSES && !self.addresses.contains_key(&address) {
            self.make_room(now);
        }
        let flows = self.others.remove(&address).unwrap_or(0);
        let new = Known { name: String::new(), fit, rules: Vec::new(), flows };
        let known = self.addresses.entry(address).or_insert(new);
        (known.name, known.fit) = (name, fit);
        known.forget_ended(now);
        let end = now + lifetime.max(KEEP);
        for rule in rules.iter().copied() {
            known.rules.retain(|(other, _)| *other != rule);
            known.rules.push((rule, end));
        }
        let surplus = known.rules.len().saturating_sub(MAX_RULES);
        known.rules.drain(..surplus);
    }

    pub(super) fn flow_begins(&mut self, now: Instant, address: IpAddr) {
        match self.addresses.get_mut(&address) {
            Some(known) => {
                known.forget_ended(now);
                known.flows += 1;
            }
            None => *self.others.entry(address).or_default() += 1,
        }
    }

    /// The address stays a while for the next one.
    pub(super) fn flow_ends(&mut self, now: Instant, address: IpAddr) {
        if let Entry::Occupied(mut flows) = self.others.entry(address) {
            *flows.get_mut() -= 1;
            if *flows.get() == 0 {
                flows.remove();
            }
        } else if let Some(known) = self.addresses.get_mut(&address)
            && known.flows > 0
        {
            known.flows -= 1;
            let least = now + KEEP;
            known.rules.iter_mut().for_each(|(_, end)| *end = least.max(*end));
        }
    }

    /// Forgets what is over, or else the one that would be over first. Those in use stay unless all are.
    fn make_room(&mut self, now: Instant) {
        self.addresses.retain(|_, known| !known.is_over(now));
        if self.addresses.len() >= MAX_ADDRESSES {
            let first = self.addresses.iter().min_by_key(|(_, known)| (known.flows > 0, known.end()));
            let first = first.map(|(address, _)| *address).and_then(|address| self.addresses.remove_entry(&address));
            self.others
                .extend(first.filter(|(_, known)| known.flows > 0).map(|(address, known)| (address, known.flows)));
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.addresses.len()
    }
}
