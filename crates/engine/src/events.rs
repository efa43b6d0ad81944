//! Who is told what happens. Everything that notices something tells the [`Events`]; each subscriber reads them at its own
//! pace from a buffer of fixed size. A subscriber that falls behind by more than that loses the oldest ones and is told how
//! many. Telling never waits for a subscriber, and costs next to nothing when there is none.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use minato_inspect::{Event, Happening};
use tokio::sync::broadcast::{self, error::RecvError};

/// How many events a subscriber may be behind.
pub(crate) const BUFFER: usize = 4096;

/// Where events are told. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Events {
    sender: broadcast::Sender<Arc<Event>>,
}

/// One who is told, from the moment on when it subscribed.
#[derive(Debug)]
pub(crate) struct Subscriber {
    receiver: broadcast::Receiver<Arc<Event>>,
}

impl Events {
    pub(crate) fn new() -> Events {
        Events { sender: broadcast::channel(BUFFER).0 }
    }

    /// Whether anybody would hear it.
    pub(crate) fn wanted(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    /// Tells what has just happened; `what` is only made when somebody is told.
    pub(crate) fn tell(&self, what: impl FnOnce() -> Happening) {
        if self.wanted() {
            // It fails when the last subscriber has just gone.
            let _ = self.sender.send(Arc::new(now(what())));
        }
    }

    pub(crate) fn subscribe(&self) -> Subscriber {
        Subscriber { receiver: self.sender.subscribe() }
    }
}

impl Subscriber {
    /// The next event; `None` when there will be no more. May be cancelled and called again.
    pub(crate) async fn next(&mut self) -> Option<Arc<Event>> {
        match self.receiver.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(count)) => Some(Arc::new(now(Happening::EventsLost { count }))),
            Err(RecvError::Closed) => None,
        }
    }
}

fn now(what: Happening) -> Event {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    Event { time, what }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(number: usize) -> Happening {
        Happening::HostEnded { host: number.to_string() }
    }

    #[tokio::test]
    async fn a_slow_subscriber_is_told_how_much_it_lost_and_a_quick_one_loses_nothing() {
        let events = Events::new();
        let (mut slow, mut quick) = (events.subscribe(), events.subscribe());
        for number in 0..BUFFER + 10 {
            events.tell(|| ended(number));
            assert_eq!(quick.next().await.unwrap().what, ended(number));
        }
        assert_eq!(slow.next().await.unwrap().what, Happening::EventsLost { count: 10 });
        for number in 10..BUFFER + 10 {
            assert_eq!(slow.next().await.unwrap().what, ended(number));
        }
    }

    #[test]
    fn nothing_is_made_for_nobody() {
        let events = Events::new();
        events.tell(|| panic!("nobody listens"));
        drop(events.subscribe());
        events.tell(|| panic!("nobody listens any more"));
    }

    #[tokio::test]
    async fn the_stream_ends_with_what_it_tells_of() {
        let events = Events::new();
        let mut subscriber = events.subscribe();
        drop(events);
        assert_eq!(subscriber.next().await, None);
    }
}
