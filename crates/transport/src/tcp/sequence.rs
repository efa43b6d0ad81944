//! Sequence numbers: 32 bits that wrap, compared within half their range (RFC 9293 §3.4).

use std::fmt;

/// A place in one direction's sequence space.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Seq(pub(crate) u32);

impl Seq {
    /// The place `count` further on.
    pub(crate) fn plus(self, count: usize) -> Seq {
        Seq(self.0.wrapping_add(count as u32))
    }

    /// The place `count` before.
    pub(crate) fn minus(self, count: usize) -> Seq {
        Seq(self.0.wrapping_sub(count as u32))
    }

    /// How far this is after `earlier`; meaningless if it is before.
    pub(crate) fn since(self, earlier: Seq) -> usize {
        self.0.wrapping_sub(earlier.0) as usize
    }

    pub(crate) fn is_before(self, other: Seq) -> bool {
        (self.0.wrapping_sub(other.0) as i32) < 0
    }

    pub(crate) fn is_after(self, other: Seq) -> bool {
        other.is_before(self)
    }

    pub(crate) fn is_at_or_before(self, other: Seq) -> bool {
        !other.is_before(self)
    }

    pub(crate) fn is_at_or_after(self, other: Seq) -> bool {
        !self.is_before(other)
    }

    /// The later of two.
    pub(crate) fn max(self, other: Seq) -> Seq {
        if self.is_before(other) { other } else { self }
    }

    /// The earlier of two.
    pub(crate) fn min(self, other: Seq) -> Seq {
        if self.is_before(other) { self } else { other }
    }
}

impl fmt::Debug for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Seq;

    #[test]
    fn order_survives_the_wrap() {
        let before = Seq(u32::MAX - 1);
        let after = before.plus(4);
        assert_eq!(after, Seq(2));
        assert!(before.is_before(after) && after.is_after(before));
        assert_eq!(after.since(before), 4);
        assert_eq!(before.max(after), after);
        assert_eq!(before.min(after), before);
    }
}
