//! The task that moves packets between device and stack, and tells everybody what happened.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Instant;

use minato_transport::{ConnectionId, Event, Unreachable};
use tokio::time::{Sleep, sleep_until};

use crate::device::Device;
use crate::error::{of_reset, of_unreachable};
use crate::network::{Handle, Shared, State, Wakers};

/// Packets that are received in a row before others get the stack.
const BATCH: usize = 64;

/// A virtio-net header, an Ethernet header, and a packet of 64 KiB.
const FRAME_MAX: usize = 10 + 14 + 65_536;

/// The future of [`Network::new`](crate::Network::new).
#[must_use = "a network does nothing unless its driver is polled"]
#[derive(Debug)]
pub struct Driver<D> {
    shared: Arc<Shared>,
    handle: Weak<Handle>,
    device: D,
    frame: Box<[u8]>,
    /// A frame that the device did not take yet.
    waiting: Option<Vec<u8>>,
    sleep: Pin<Box<Sleep>>,
    sleeps_until: Option<Instant>,
}

impl<D> Driver<D> {
    pub(crate) fn new(shared: Arc<Shared>, handle: Weak<Handle>, device: D) -> Driver<D> {
        let sleep = Box::pin(sleep_until(tokio::time::Instant::now()));
        let frame = vec![0; FRAME_MAX].into_boxed_slice();
        Driver { shared, handle, device, frame, waiting: None, sleep, sleeps_until: None }
    }
}

/// The device is never pinned.
impl<D> Unpin for Driver<D> {}

impl<D: Device> Future for Driver<D> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let driver = &mut *self;
        let shared = Arc::clone(&driver.shared);
        let mut state = shared.lock();
        match driver.turn(&mut state, cx) {
            Ok(Turn::Over) => Poll::Ready(Ok(())),
            Ok(Turn::Again) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Ok(Turn::Wait) => {
                state.driver_waits(cx.waker());
                Poll::Pending
            }
            Err(error) => {
                // What had arrived before is told before: a refusal is a better answer than the end.
                tell(&mut state);
                end(&mut state, error.kind());
                Poll::Ready(Err(error))
            }
        }
    }
}

/// What comes after a turn of the loop.
enum Turn {
    /// More waits already, but others shall have the stack first.
    Again,
    /// Until the device, the clock or a handle says something.
    Wait,
    /// Nobody needs the network any more.
    Over,
}

impl<D: Device> Driver<D> {
    /// The order of calls that `minato_transport` describes.
    fn turn(&mut self, state: &mut State, cx: &mut Context<'_>) -> io::Result<Turn> {
        let more = self.receive(state, cx)?;
        let now = Instant::now();
        if state.stack.poll_timeout().is_some_and(|at| at <= now) {
            state.stack.handle_timeout(now);
        }
        self.transmit(state, cx, now)?;
        let answered = tell(state);
        let is_unused = self.handle.strong_count() == 0 && state.stack.statistics().connections == 0;
        if is_unused && self.waiting.is_none() && !answered {
            return Ok(Turn::Over);
        }
        if more || answered || self.is_due(state, cx) { Ok(Turn::Again) } else { Ok(Turn::Wait) }
    }

    /// Whether there may be more packets.
    fn receive(&mut self, state: &mut State, cx: &mut Context<'_>) -> io::Result<bool> {
        let now = Instant::now();
        for _ in 0..BATCH {
            let Poll::Ready(length) = self.device.poll_receive(cx, &mut self.frame) else { return Ok(false) };
            state.stack.receive(now, &mut self.frame[..length?]);
        }
        Ok(true)
    }

    fn transmit(&mut self, state: &mut State, cx: &mut Context<'_>, now: Instant) -> io::Result<()> {
        if let Some(frame) = &self.waiting {
            let Poll::Ready(sent) = self.device.poll_send(cx, &[io::IoSlice::new(frame)]) else { return Ok(()) };
            sent?;
            self.waiting = None;
        }
        while let Some(transmit) = state.stack.poll_transmit(now) {
            let Poll::Ready(sent) = self.device.poll_send(cx, &transmit.io_slices()) else {
                self.waiting = Some(transmit.to_vec());
                return Ok(());
            };
            sent?;
        }
        Ok(())
    }

    /// Sets the alarm for the stack's next deadline; whether that is past.
    fn is_due(&mut self, state: &State, cx: &mut Context<'_>) -> bool {
        let Some(at) = state.stack.poll_timeout() else { return false };
        if self.sleeps_until != Some(at) {
            self.sleep.as_mut().reset(at.into());
            self.sleeps_until = Some(at);
        }
        self.sleep.as_mut().poll(cx).is_ready()
    }
}

/// Passes the stack's events on to those who wait for them. Whether that has given the stack something to send.
fn tell(state: &mut State) -> bool {
    let mut answered = false;
    while let Some(event) = state.stack.poll_event() {
        match event {
            Event::Acceptable(listener) => state.listeners.get_mut(&listener).into_iter().for_each(Wakers::wake),
            Event::DatagramReadable(id) => {
                state.sockets.get_mut(&id).into_iter().for_each(|socket| socket.wakers.wake());
            }
            Event::DatagramUnreachable { source, destination, reason } if is_lasting(reason) => {
                for socket in state.sockets.values_mut().filter(|socket| socket.has_sent(source, destination)) {
                    socket.failed = Some(of_unreachable(reason));
                    socket.wakers.wake();
                }
            }
            Event::Connected(id) => {
                with(state, id, |waiting| waiting.connected = true);
            }
            Event::Readable(id) | Event::PeerClosed(id) | Event::Writable(id) | Event::Closed(id) => {
                with(state, id, |_| ());
            }
            Event::Reset(id, reason) => {
                with(state, id, |waiting| waiting.failed = Some(of_reset(reason)));
            }
            // Nobody listens there.
            Event::Incoming(incoming) => {
                state.stack.refuse_incoming(Instant::now(), incoming.id);
                answered = true;
            }
            _ => {}
        }
    }
    answered
}

/// Whether a UDP socket hears of it. What may pass, like a lack of a route on the way, it doesn't (RFC 1122 §4.1.3.3 leaves
/// that open; Linux does the same).
fn is_lasting(reason: Unreachable) -> bool {
    matches!(reason, Unreachable::Port | Unreachable::Protocol | Unreachable::Prohibited)
}

fn with(state: &mut State, id: ConnectionId, note: impl FnOnce(&mut crate::network::Waiting)) {
    if let Some(waiting) = state.connections.get_mut(&id) {
        note(waiting);
        waiting.wake();
    }
}

/// The device is gone: everybody hears of it.
fn end(state: &mut State, kind: io::ErrorKind) {
    state.ended = Some(kind);
    state.connections.values_mut().for_each(crate::network::Waiting::wake);
    state.listeners.values_mut().for_each(Wakers::wake);
    state.sockets.values_mut().for_each(|socket| socket.wakers.wake());
}
