//! Memory that is kept for reuse, and given back once it was not needed for a while.

/// Things that nobody uses. The last one given is taken first, so those that are not needed lie at the bottom.
#[derive(Debug)]
pub(crate) struct Spare<T> {
    things: Vec<T>,
    /// Most that are kept.
    keep: usize,
    /// The least that there were since the last `decay`: so many were not needed.
    unneeded: usize,
}

impl<T> Spare<T> {
    pub(crate) fn new(keep: usize) -> Spare<T> {
        Spare { things: Vec::new(), keep, unneeded: 0 }
    }

    pub(crate) fn take(&mut self) -> Option<T> {
        let thing = self.things.pop();
        self.unneeded = self.unneeded.min(self.things.len());
        thing
    }

    /// The next one, if it suits.
    pub(crate) fn take_if(&mut self, suits: impl FnOnce(&T) -> bool) -> Option<T> {
        if suits(self.things.last()?) { self.take() } else { None }
    }

    /// Keeps it, or drops it if there are enough.
    pub(crate) fn give(&mut self, thing: T) {
        if self.things.len() < self.keep {
            self.things.push(thing);
        }
    }

    /// Gives up what was not needed since the last call.
    pub(crate) fn decay(&mut self) {
        self.things.drain(..self.unneeded);
        if self.things.is_empty() {
            self.things = Vec::new();
        }
        self.unneeded = self.things.len();
    }

    /// Gives up everything.
    pub(crate) fn clear(&mut self) {
        self.things = Vec::new();
        self.unneeded = 0;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.things.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.things.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::Spare;

    #[test]
    fn what_is_not_needed_goes_and_what_is_needed_stays() {
        let mut spare = Spare::new(10);
        (0..20).for_each(|number| spare.give(number));
        assert_eq!(spare.iter().count(), 10);
        spare.decay();
        // Three are needed again and again.
        let taken: Vec<i32> = (0..3).filter_map(|_| spare.take()).collect();
        taken.into_iter().for_each(|number| spare.give(number));
        spare.decay();
        assert_eq!(spare.iter().count(), 3);
        spare.decay();
        spare.decay();
        assert!(spare.is_empty());
    }
}
