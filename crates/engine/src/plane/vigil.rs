//! Whether to sleep or to look again, when there is nothing to do.
//!
//! To wake a thread whose processor has gone idle costs more than most turns of the loop, and whoever has sent something
//! pays for it. So after work the loop looks for more for a while before it sleeps, and lets others run meanwhile. How
//! long is learnt, as hypervisors do when a virtual processor halts: sleeps that were so short that a look would have
//! spared them lengthen it, and one that was longer ends it. So traffic that comes rarely costs nothing more than it did.

use std::time::{Duration, Instant};

/// The first length, and the least gain.
const SHORTEST: Duration = Duration::from_micros(50);
/// Longer pauses than this are slept.
const LONGEST: Duration = Duration::from_micros(200);

/// What the loop has learnt of the pauses between its work.
#[derive(Debug, Default)]
pub(super) struct Vigil {
    /// How long to look before sleeping.
    length: Duration,
    /// When there was nothing to do any more.
    since: Option<Instant>,
}

/// What the loop does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watch {
    /// It looks, and does not wait.
    Look,
    /// It sleeps for so long, or until something happens.
    Sleep(Option<Duration>),
}

impl Watch {
    /// Whether the processor may be another thread's for long.
    pub(super) fn sleeps(self) -> bool {
        matches!(self, Watch::Sleep(timeout) if timeout != Some(Duration::ZERO))
    }

    pub(super) fn timeout(self) -> Option<Duration> {
        match self {
            Watch::Look => Some(Duration::ZERO),
            Watch::Sleep(timeout) => timeout,
        }
    }
}

impl Vigil {
    /// Before the loop waits, for `sleep` at most.
    pub(super) fn begin(&mut self, now: Instant, sleep: Option<Duration>) -> Watch {
        let since = *self.since.get_or_insert(now);
        let looks = sleep != Some(Duration::ZERO) && now.saturating_duration_since(since) < self.length;
        if looks { Watch::Look } else { Watch::Sleep(sleep) }
    }

    /// After it has waited: whether there is work, because something is `due` or a sleep is over. Otherwise another thread
    /// runs first, if one waits for the processor.
    pub(super) fn end(&mut self, now: Instant, watch: Watch, due: bool) -> bool {
        if watch == Watch::Look && !due {
            std::thread::yield_now();
            return false;
        }
        if let Some(since) = self.since.take()
            && watch.sleeps()
        {
            self.learn(now.saturating_duration_since(since));
        }
        true
    }

    fn learn(&mut self, pause: Duration) {
        self.length = if pause > LONGEST { Duration::ZERO } else { (self.length * 2).clamp(SHORTEST, LONGEST) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pause that was slept.
    fn sleep(vigil: &mut Vigil, now: &mut Instant, pause: Duration) -> Duration {
        vigil.begin(*now, None);
        *now += pause;
        assert!(vigil.end(*now, Watch::Sleep(None), true));
        vigil.length
    }

    #[test]
    fn short_pauses_are_watched_and_a_long_one_ends_the_vigil() {
        let mut now = Instant::now();
        let mut vigil = Vigil::default();
        assert_eq!(vigil.begin(now, None), Watch::Sleep(None), "it sleeps at first");
        let short = Duration::from_micros(30);
        assert_eq!(sleep(&mut vigil, &mut now, short), SHORTEST);
        assert_eq!(sleep(&mut vigil, &mut now, short), 2 * SHORTEST);
        for _ in 0..5 {
            sleep(&mut vigil, &mut now, short);
        }
        assert_eq!(vigil.length, LONGEST);
        assert_eq!(vigil.begin(now, None), Watch::Look);
        assert!(!vigil.end(now, Watch::Look, false), "nothing to do yet");
        assert_eq!(vigil.begin(now + LONGEST, None), Watch::Sleep(None), "long enough");
        assert!(vigil.end(now + 2 * LONGEST, Watch::Sleep(None), true));
        assert_eq!(vigil.length, Duration::ZERO);
    }

    #[test]
    fn what_is_due_is_never_watched_for_and_teaches_nothing() {
        let now = Instant::now();
        let mut vigil = Vigil { length: LONGEST, since: None };
        let at_once = Watch::Sleep(Some(Duration::ZERO));
        assert_eq!(vigil.begin(now, at_once.timeout()), at_once);
        assert!(vigil.end(now + 5 * LONGEST, at_once, true));
        assert_eq!(vigil.begin(now, Some(Duration::from_secs(1))), Watch::Look);
        assert_eq!(Watch::Look.timeout(), Some(Duration::ZERO));
        assert_eq!(vigil.length, LONGEST);
    }
}
