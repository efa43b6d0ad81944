//! A network: one stack that several tasks use and one task drives.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

use minato_transport::{Config, ConnectionId, ListenerId, SocketId, Stack};

use crate::device::Device;
use crate::driver::Driver;

/// A handle of a stack that is driven by a task of its own. Clones are the same network. When the last handle, listener,
/// stream and socket is gone, what is still queued is sent, and the task ends.
#[derive(Clone, Debug)]
pub struct Network {
    pub(crate) handle: Arc<Handle>,
}

impl Network {
    /// Starts a network on `device` as a task of the present tokio runtime.
    ///
    /// # Panics
    /// Outside of a tokio runtime with timers.
    pub fn start(config: Config, device: impl Device) -> Network {
        let (network, driver) = Network::new(config, device);
        // Who asks how it ended uses `new`.
        drop(tokio::spawn(driver));
        network
    }

    /// A network and the future that drives it, to be spawned or awaited. Its result is the device's error, or `Ok` when no
    /// handle is left.
    pub fn new<D: Device>(config: Config, device: D) -> (Network, Driver<D>) {
        let state = State {
            stack: Stack::new(Instant::now(), config),
            connections: HashMap::new(),
            listeners: HashMap::new(),
            sockets: HashMap::new(),
            driver: None,
            ended: None,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state) });
        let network = Network { handle: Arc::new(Handle { shared: Arc::clone(&shared) }) };
        let driver = Driver::new(shared, Arc::downgrade(&network.handle), device);
        (network, driver)
    }

    /// Runs `act` on the stack: for whatever the types here have no method for. The driver looks at the stack afterwards.
    /// Events belong to the driver; a caller that polls them takes them away from others.
    pub fn with_stack<R>(&self, act: impl FnOnce(&mut Stack, Instant) -> R) -> R {
        self.lock().act(act)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.handle.shared.lock()
    }
}

/// What keeps the driver alive.
#[derive(Debug)]
pub(crate) struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.lock().wake_driver();
    }
}

/// What the driver and the handles have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
}

impl Shared {
    /// Nothing that holds the lock panics half-way through a change that matters here.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The stack, and who waits for what.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) stack: Stack,
    pub(crate) connections: HashMap<ConnectionId, Waiting>,
    pub(crate) listeners: HashMap<ListenerId, Wakers>,
    pub(crate) sockets: HashMap<SocketId, Socket>,
    driver: Option<Waker>,
    /// Why the network ended: the device's error.
    pub(crate) ended: Option<io::ErrorKind>,
}

/// The tasks that wait for the same thing.
#[derive(Debug, Default)]
pub(crate) struct Wakers(Vec<Waker>);

impl Wakers {
    /// One more, unless it waits already.
    pub(crate) fn add(&mut self, waker: &Waker) {
        if !self.0.iter().any(|waiting| waiting.will_wake(waker)) {
            self.0.push(waker.clone());
        }
    }

    pub(crate) fn wake(&mut self) {
        self.0.drain(..).for_each(Waker::wake);
    }
}

/// A UDP socket: who waits for it, and what it is to be told.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) wakers: Wakers,
    pub(crate) local: SocketAddr,
    pub(crate) peer: Option<SocketAddr>,
    /// What the next call is told: something is wrong with the peer.
    pub(crate) failed: Option<io::ErrorKind>,
}

impl Socket {
    pub(crate) fn new(local: SocketAddr) -> Socket {
        Socket { wakers: Wakers::default(), local, peer: None, failed: None }
    }

    /// Whether a datagram with these ends is one of its own to its peer.
    pub(crate) fn has_sent(&self, source: SocketAddr, destination: SocketAddr) -> bool {
        let is_local = self.local == source || self.local.ip().is_unspecified() && self.local.port() == source.port();
        is_local && self.peer == Some(destination)
    }
}

/// Who waits for a connection, and what became of it.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    pub(crate) reader: Option<Waker>,
    pub(crate) writer: Option<Waker>,
    pub(crate) connected: bool,
    /// It is gone, and this is what its users are told.
    pub(crate) failed: Option<io::ErrorKind>,
}

impl Waiting {
    pub(crate) fn wake(&mut self) {
        [self.reader.take(), self.writer.take()].into_iter().flatten().for_each(Waker::wake);
    }
}

impl State {
    /// Does something to the stack and has the driver look at what follows from it.
    pub(crate) fn act<R>(&mut self, act: impl FnOnce(&mut Stack, Instant) -> R) -> R {
        let result = act(&mut self.stack, Instant::now());
        self.wake_driver();
        result
    }

    /// The error of all operations once the network ended.
    pub(crate) fn check(&self) -> io::Result<()> {
        self.ended.map_or(Ok(()), |kind| Err(kind.into()))
    }

    /// The error that a UDP socket's next call has: what its peer did, once, and then the network's end.
    pub(crate) fn check_socket(&mut self, id: SocketId) -> io::Result<()> {
        let failed = self.sockets.get_mut(&id).and_then(|socket| socket.failed.take());
        failed.map_or_else(|| self.check(), |kind| Err(kind.into()))
    }

    pub(crate) fn driver_waits(&mut self, waker: &Waker) {
        self.driver = Some(waker.clone());
    }

    pub(crate) fn wake_driver(&mut self) {
        if let Some(waker) = self.driver.take() {
            waker.wake();
        }
    }
}

/// A secret for [`Config::new`], from the randomness of the system that the standard library's hash maps have.
#[must_use]
pub fn random_key() -> [u8; 16] {
    (u128::from(random()) << 64 | u128::from(random())).to_le_bytes()
}

/// Each `RandomState` has another key.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
