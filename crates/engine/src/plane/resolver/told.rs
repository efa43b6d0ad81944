//! What hosts were told: the name that led to an address last, so that flows there can be shown with it.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

/// Most addresses of which a name is remembered, of all hosts together.
const MOST: usize = 16_384;

/// A host, by its serial number, and an address that it was told.
type Key = (u32, IpAddr);

/// Names for show only: nothing is decided by them, and those that were told first are forgotten first.
#[derive(Debug, Default)]
pub(in crate::plane) struct Told {
    /// Keyed by what resolvers have answered: hence the standard, keyed hasher. Not more than [`MOST`].
    names: HashMap<Key, Arc<str>>,
    /// In the order in which they came.
    order: VecDeque<Key>,
}

impl Told {
    /// A host was told that a name leads to an address.
    pub(super) fn note(&mut self, host: u32, address: IpAddr, name: &Arc<str>) {
        let key = (host, address.to_canonical());
        if self.names.insert(key, Arc::clone(name)).is_none() {
            self.order.push_back(key);
        }
        while self.names.len() > MOST
            && let Some(first) = self.order.pop_front()
        {
            self.names.remove(&first);
        }
    }

    /// The name that led a host to an address last.
    pub(in crate::plane) fn name(&self, host: u32, address: IpAddr) -> Option<Arc<str>> {
        self.names.get(&(host, address.to_canonical())).cloned()
    }

    /// Forgets a host.
    pub(in crate::plane) fn forget(&mut self, host: u32) {
        self.order.retain(|(other, _)| *other != host);
        self.names.retain(|(other, _), _| *other != host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_name_counts_and_the_first_ones_go() {
        let mut told = Told::default();
        let address = |number: u32| IpAddr::from(std::net::Ipv4Addr::from_bits(number));
        let name = |text: &str| Arc::<str>::from(text);
        told.note(1, address(0), &name("old.test"));
        told.note(1, address(0), &name("new.test"));
        told.note(2, address(0), &name("other.test"));
        assert_eq!(told.name(1, address(0)).as_deref(), Some("new.test"));
        told.forget(2);
        assert_eq!(told.name(2, address(0)), None);
        for number in 0..=MOST as u32 {
            told.note(1, address(number), &name("many.test"));
        }
        assert_eq!((told.names.len(), told.order.len()), (MOST, MOST));
        assert_eq!(told.name(1, address(0)), None);
        assert!(told.name(1, address(1)).is_some());
    }
}
