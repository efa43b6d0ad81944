//! Whether programs run in a host, as far as that is known without looking at every process of the machine.
//!
//! A session whose binds are watched has no program any more when its listener says so: then nobody is left who inherited
//! the filter. Other sessions are taken to have one for ever.

use std::collections::HashMap;
use std::time::Duration;

use minato_inspect::SessionId;
use tokio::sync::watch;

/// How long the news may be on its way that the last program has ended: its parent learns it at the same time.
const ON_ITS_WAY: Duration = Duration::from_millis(2);

/// The sessions that may have programs in a host, and whether their binds are watched. Some of them may have ended.
#[derive(Debug)]
pub(super) struct Programs(watch::Sender<HashMap<SessionId, bool>>);

impl Default for Programs {
    fn default() -> Programs {
        Programs(watch::channel(HashMap::new()).0)
    }
}

impl Programs {
    /// A session may start one from now on.
    pub(super) fn begin(&self, session: SessionId) {
        self.change(|sessions| sessions.insert(session, false));
    }

    /// The end of a session's will be heard of.
    pub(super) fn watched(&self, session: SessionId) {
        self.change(|sessions| sessions.insert(session, true));
    }

    /// All of a session's have ended, with everything that they had started.
    pub(super) fn ended(&self, session: SessionId) {
        self.change(|sessions| sessions.remove(&session));
    }

    /// Whether none runs for certain.
    pub(super) async fn none_is_left(&self) -> bool {
        let mut sessions = self.0.subscribe();
        if !sessions.borrow().values().all(|watched| *watched) {
            return false;
        }
        tokio::time::timeout(ON_ITS_WAY, sessions.wait_for(HashMap::is_empty)).await.is_ok_and(|none| none.is_ok())
    }

    fn change<T>(&self, change: impl FnOnce(&mut HashMap<SessionId, bool>) -> T) {
        self.0.send_modify(|sessions| {
            change(sessions);
        });
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
        programs.watched(SessionId(1));
        assert!(!none_is_left(&programs), "running");
        programs.begin(SessionId(2));
        programs.watched(SessionId(2));
        programs.ended(SessionId(1));
        assert!(!none_is_left(&programs), "one of two");
        programs.ended(SessionId(2));
        assert!(none_is_left(&programs));
    }

    #[test]
    fn news_on_its_way_is_waited_for() {
        let programs = std::sync::Arc::new(Programs::default());
        programs.begin(SessionId(1));
        programs.watched(SessionId(1));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let later = std::sync::Arc::clone(&programs);
            tokio::spawn(async move { later.ended(SessionId(1)) });
            assert!(programs.none_is_left().await);
        });
    }
}
