//! The event queue: epoll, edge-triggered (but for the TAP device), so that a descriptor is registered once and never touched
//! again.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{Timespec, epoll};

use super::token::Token;

/// What is watched for.
const EVENTS: epoll::EventFlags = epoll::EventFlags::IN
    .union(epoll::EventFlags::OUT)
    .union(epoll::EventFlags::PRI)
    .union(epoll::EventFlags::RDHUP)
    .union(epoll::EventFlags::ET);
/// After these a read that gives less than it could has not taken all: the end follows, or the kernel has stopped at
/// urgent data.
const MORE: epoll::EventFlags =
    epoll::EventFlags::RDHUP.union(epoll::EventFlags::HUP).union(epoll::EventFlags::ERR).union(epoll::EventFlags::PRI);
/// The kernel counts a wait in whole milliseconds, and rounds up.
pub(super) const SHORTEST_SLEEP: Duration = Duration::from_millis(1);
/// Most events taken at once.
const BATCH: usize = 256;

/// What a descriptor has become ready for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Readiness {
    pub(super) token: Token,
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// The peer has ended its direction or the connection is dead; or urgent data has arrived.
    pub(super) hung_up: bool,
}

/// An epoll instance.
pub(super) struct Poller {
    epoll: OwnedFd,
    ready: Vec<Readiness>,
}

impl Poller {
    pub(super) fn new() -> io::Result<Poller> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Poller { epoll, ready: Vec::with_capacity(BATCH) })
    }

    /// Tells `token` about each edge of `descriptor`, which is taken out again when its last copy is closed.
    pub(super) fn add(&self, descriptor: impl AsFd, token: Token) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, descriptor, epoll::EventData::new_u64(token.to_bits()), EVENTS)?)
    }

    /// Tells [`Token::Tap`] as long as frames wait at the device. Most come one at a time, and an edge would have to be
    /// paid for with a read that finds nothing.
    pub(super) fn add_tap(&self, device: impl AsFd) -> io::Result<()> {
        let data = epoll::EventData::new_u64(Token::Tap.to_bits());
        Ok(epoll::add(&self.epoll, device, data, epoll::EventFlags::IN)?)
    }

    /// Whether the device's room for frames is watched as well: only while it has none, since it has some nearly always.
    pub(super) fn watch_tap(&self, device: impl AsFd, room: bool) -> io::Result<()> {
        let mut events = epoll::EventFlags::IN;
        events.set(epoll::EventFlags::OUT, room);
        Ok(epoll::modify(&self.epoll, device, epoll::EventData::new_u64(Token::Tap.to_bits()), events)?)
    }

    /// Waits for events, at most for `timeout` (rounded up to what the kernel can count); then [`Poller::ready`] has them.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: timeout.as_secs().min(86_400) as i64,
            tv_nsec: i64::from(timeout.subsec_nanos()),
        });
        self.ready.clear();
        let mut events = [MaybeUninit::uninit(); BATCH];
        match epoll::wait(&self.epoll, &mut events, timeout.as_ref()) {
            Ok((events, _)) => self.ready.extend(events.iter().filter_map(readiness)),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// The event at `index` of the last wait; `None` after the last one.
    pub(super) fn ready(&self, index: usize) -> Option<Readiness> {
        self.ready.get(index).copied()
    }
}

fn readiness(event: &epoll::Event) -> Option<Readiness> {
    let (flags, bits) = (event.flags, event.data.u64());
    Token::from_bits(bits).map(|token| Readiness {
        token,
        readable: flags.contains(epoll::EventFlags::IN),
        writable: flags.contains(epoll::EventFlags::OUT),
        hung_up: flags.intersects(MORE),
    })
}
