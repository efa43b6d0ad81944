//! Whether programs run in a host, as far as that is known without looking at every process of the machine.
//!
//! A session whose only program's binds are watched has none any more when the listener says so: then nobody is left who
//! inherited the filter. Other sessions are taken to have some for ever, and so is one that hands over several listeners:
//! the end of one says nothing of what the others' programs, or earlier ones, have left behind.

use std::collections::HashMap;
use std::time::Duration;

use minato_inspect::SessionId;
use tokio::sync::watch;

/// How long the news may be on its way that the last program has ended: its parent learns it at the same time.
const ON_ITS_WAY: Duration = Duration::from_millis(2);

/// What is known of a session's programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// Nothing yet.
    Nothing,
    /// It has one, whose end will be heard of, with that of everything it has started.
    Watched,
    /// It may have some for ever.
    Never,
}

/// The sessions that may have programs in a host. Some of them may have ended.
#[derive(Debug)]
pub(super) struct Programs(watch::Sender<HashMap<SessionId, Known>>);

impl Default for Programs {
    fn default() -> Programs {
        Programs(watch::channel(HashMap::new()).0)
    }
}

impl Programs {
    /// A session may start some from now on.
    pub(super) fn begin(&self, session: SessionId) {
        self.change(|sessions| {
            sessions.insert(session, Known::Nothing);
        });
    }

    /// The end of one of a session's will be heard of; `sole` if the session has no other.
    pub(super) fn watched(&self, session: SessionId, sole: bool) {
        self.change(|sessions| {
            let is_first = sessions.get(&session) == Some(&Known::Nothing);
            sessions.insert(session, if sole && is_first { Known::Watched } else { Known::Never });
        });
    }

    /// One that was watched has ended, with everything that it had started.
    pub(super) fn ended(&self, session: SessionId) {
        self.change(|sessions| {
            if sessions.get(&session) == Some(&Known::Watched) {
                sessions.remove(&session);
            }
        });
    }

    /// Whether none runs for certain.
    pub(super) async fn none_is_left(&self) -> bool {
        let mut sessions = self.0.subscribe();
        if !sessions.borrow().values().all(|known| *known == Known::Watched) {
            return false;
        }
        tokio::time::timeout(ON_ITS_WAY, sessions.wait_for(HashMap::is_empty)).await.is_ok_and(|none| none.is_ok())
    }

    fn change(&self, change: impl FnOnce(&mut HashMap<SessionId, Known>)) {
        self.0.send_modify(change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none_is_left(programs: &Programs) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(programs.none_is_left())
    }

    #[test]
    fn only_watched_sessions_are_known_to_have_none() {
        let programs = Programs::default();
        assert!(none_is_left(&programs));
        programs.begin(SessionId(1));
        assert!(!none_is_left(&programs), "not watched");
        programs.watched(SessionId(1), true);
        assert!(!none_is_left(&programs), "running");
        programs.begin(SessionId(2));
        programs.watched(SessionId(2), true);
        programs.ended(SessionId(1));
        assert!(!none_is_left(&programs), "one of two");
        programs.ended(SessionId(2));
        assert!(none_is_left(&programs));
    }

    #[test]
    fn the_end_of_one_of_several_says_nothing() {
        let second_listener = |programs: &Programs| programs.watched(SessionId(1), true);
        let late = |programs: &Programs| {
            programs.ended(SessionId(1));
            programs.watched(SessionId(1), true);
        };
        for more in [second_listener, late] {
            let programs = Programs::default();
            programs.begin(SessionId(1));
            programs.watched(SessionId(1), true);
            more(&programs);
            programs.ended(SessionId(1));
            assert!(!none_is_left(&programs));
        }
        let programs = Programs::default();
        programs.begin(SessionId(1));
        programs.watched(SessionId(1), false);
        programs.ended(SessionId(1));
        assert!(!none_is_left(&programs), "it may have others that are not watched");
    }

    #[test]
    fn news_on_its_way_is_waited_for() {
        let programs = std::sync::Arc::new(Programs::default());
        programs.begin(SessionId(1));
        programs.watched(SessionId(1), true);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let later = std::sync::Arc::clone(&programs);
            tokio::spawn(async move { later.ended(SessionId(1)) });
            assert!(programs.none_is_left().await);
        });
    }
}
