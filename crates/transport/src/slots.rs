//! A table of values with reusable places. A place counts its tenants, so that a handle of a former tenant finds nothing.

use std::collections::VecDeque;

use crate::timers::Deadline;

/// So few entries of a queue are not worth a look.
const STALE_MIN: usize = 64;

/// Values by index, O(1) for everything. A place's generation goes up when its value is removed.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Default for Slots<T> {
    fn default() -> Slots<T> {
        Slots { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    /// How many values there are.
    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// The index and generation of the new value.
    pub(crate) fn insert(&mut self, value: T) -> (u32, u32) {
        if let Some(index) = self.free.pop() {
            let place = &mut self.places[index as usize];
            place.value = Some(value);
            return (index, place.generation);
        }
        let index = self.places.len() as u32;
        self.places.push(Place { generation: 0, value: Some(value) });
        (index, 0)
    }

    pub(crate) fn remove(&mut self, index: u32) -> Option<T> {
        let place = self.places.get_mut(index as usize)?;
        let value = place.value.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(index);
        Some(value)
    }

    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        self.places.get(index as usize)?.value.as_ref()
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.places.get_mut(index as usize)?.value.as_mut()
    }

    /// Whether the place still has the tenant that the handle means.
    pub(crate) fn is_current(&self, index: u32, generation: u32) -> bool {
        self.places.get(index as usize).is_some_and(|place| place.generation == generation && place.value.is_some())
    }

    pub(crate) fn generation(&self, index: u32) -> u32 {
        self.places.get(index as usize).map_or(0, |place| place.generation)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut().filter_map(|place| place.value.as_mut())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.places.iter().enumerate().filter_map(|(index, place)| Some((index as u32, place.value.as_ref()?)))
    }
}

/// Takes the entries whose tenant is gone out of a queue once they are the larger part of it, `live` being the others: behind
/// one that lives long they would stay as long. `handle` is the index and generation of an entry. Constant cost per entry.
pub(crate) fn drop_stale<T, E>(
    queue: &mut VecDeque<E>,
    live: usize,
    slots: &Slots<T>,
    handle: impl Fn(&E) -> (u32, u32),
) {
    if queue.len() > 2 * live + STALE_MIN {
        queue.retain(|entry| {
            let (index, generation) = handle(entry);
            slots.is_current(index, generation)
        });
    }
}

/// The same for a queue of deadlines that has all tenants.
pub(crate) fn drop_stale_deadlines<T>(order: &mut VecDeque<Deadline>, slots: &Slots<T>) {
    drop_stale(order, slots.len(), slots, |(_, index, generation)| (*index, *generation));
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::{STALE_MIN, Slots, drop_stale_deadlines};

    #[test]
    fn deadlines_of_former_tenants_do_not_gather_behind_a_live_one() {
        let now = crate::time::Time::START;
        let (mut slots, mut order) = (Slots::default(), VecDeque::new());
        for number in 0..10_000 {
            let (index, generation) = slots.insert(number);
            order.push_back((now, index, generation));
            drop_stale_deadlines(&mut order, &slots);
            if number > 0 {
                slots.remove(index);
            }
            assert!(order.len() <= 2 * slots.len() + STALE_MIN + 2);
        }
        assert_eq!(order.front(), Some(&(now, 0, 0)));
    }

    #[test]
    fn a_former_tenant_is_recognised() {
        let mut slots = Slots::default();
        let (index, generation) = slots.insert("a");
        assert_eq!(slots.remove(index), Some("a"));
        assert_eq!(slots.remove(index), None);
        let (again, next) = slots.insert("b");
        assert_eq!(again, index);
        assert!(!slots.is_current(index, generation));
        assert!(slots.is_current(index, next));
        assert_eq!(slots.len(), 1);
    }
}
