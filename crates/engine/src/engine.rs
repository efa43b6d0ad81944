//! Puts the parts together: directory, agent, packet loop, control, API; and takes them apart in the opposite order.

use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use minato_host::agent::{Fabric, FabricConfig, FabricError};
use minato_host::check;
use minato_host::sockets::raise_file_limit;
use minato_host::tap::Tap;
use minato_inspect::{Problem, ProblemKind, SessionId};
use minato_relay::Rules;
use minato_transport::{Config, Link, MacAddress, Stack};
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::EngineOptions;
use crate::api;
use crate::control::{Control, Numbers, name};
use crate::convert;
use crate::events::Events;
use crate::plane::{Command, Order, Plane, PlaneHandle, PlaneSetup, ServicesChanged, Supply, Zone};
use crate::problem::{internal, problem, with_fix};
use crate::startup::directory::RuntimeDirectory;
use crate::startup::subnet::{self, Addresses, relay_network, without_ipv6};

pub(crate) const MTU: u16 = 1500;
/// Most bytes that a connection with a host holds for each direction. The host's kernel is less than a tenth of a
/// millisecond away, and what the way beyond needs is in the buffers of the machine's sockets: more would only leave the
/// processor's cache before it is passed on.
const BUFFER_MAX: usize = 1 << 20;
/// How long the answer to a small first request may take to spare a frame for its acknowledgement; not if the packet loop
/// sleeps before. A program under Nagle's algorithm that sends a request in two pieces waits for it.
const FIRST_ACK_DELAY: Duration = Duration::from_micros(60);
/// Locally administered, the same in every network: each is a link of its own.
pub(crate) const GATEWAY_MAC: [u8; 6] = [0x02, 0x4d, 0x49, 0x4e, 0x41, 0x54];
/// File descriptors that are not for flows (TAP, agent, API, hosts, pipes, sockets made ahead): a quarter of all, but
/// not more than this.
const RESERVED_FILES: u64 = 1024;
/// How long an engine waits for its first host.
const FIRST_HOST: Duration = Duration::from_secs(15);
/// How long open requests may take to end when the engine does.
const FAREWELL: Duration = Duration::from_secs(2);

/// An engine that is ready to serve.
pub(crate) struct Engine {
    runtime: tokio::runtime::Runtime,
    listener: UnixListener,
    control: Arc<Control>,
    closed: UnboundedReceiver<SessionId>,
    services: UnboundedReceiver<ServicesChanged>,
    plane: JoinHandle<io::Result<()>>,
    supply: JoinHandle<()>,
    refusals: JoinHandle<()>,
    fabric: Arc<Fabric>,
    /// The last to go: until then no other engine may begin.
    directory: RuntimeDirectory,
}

impl Engine {
    pub(crate) fn start(options: &EngineOptions) -> Result<Engine, Problem> {
        name::check("network", &options.network)?;
        let directory = RuntimeDirectory::claim(&options.runtime_directory)?;
        let (Addresses { subnet, loopback }, fabric, tap) = match Engine::create_fabric(options, &directory) {
            Ok(created) => created,
            Err(failure) => {
                directory.remove();
                return Err(failure);
            }
        };
        minato_host::memory::give_large_buffers_back();
        // From here on the agent removes the directory when we end, however we do.
        let limit = raise_file_limit().map_err(internal)?;
        let addresses = if fabric.has_ipv6() { relay_network(&subnet) } else { without_ipv6(relay_network(&subnet)) };
        let (rules, zone) = (Rules::new(addresses), Zone::new(&options.network, addresses));
        let descriptors = usize::try_from(limit - (limit / 4).min(RESERVED_FILES)).unwrap_or(usize::MAX);
        let (orders, ordered) = channel();
        let (reports, reported) = channel();
        let key = random_key().map_err(internal)?;
        let agent = rustix::io::dup(&fabric).map_err(internal)?;
        let events = Events::new();
        let (changed, services) = unbounded_channel();
        let setup = PlaneSetup {
            stack: stack(&addresses, key, tap.segments_datagrams()),
            tap,
            agent,
            rules,
            zone,
            orders,
            reports,
            descriptors,
            key,
            events: events.clone(),
            services: changed,
        };
        let (handle, plane) = Plane::new(setup).map_err(internal)?;
        let fabric = Arc::new(fabric);
        let (control, closed) = Control::new(
            Numbers::new(&options.network, addresses, loopback, options.subnet.is_some()),
            Arc::clone(&fabric),
            handle.clone(),
            directory.path(),
            descriptors,
            events,
        );
        let supply = run_supply(Arc::clone(&fabric), ordered, handle, &control).map_err(internal)?;
        let telling = Arc::clone(&control);
        let refusals =
            spawn_vital("refusals", &control, move || telling.tell_of_refusals(&reported)).map_err(internal)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(internal)?;
        let listener = listen(&runtime, &directory).map_err(internal)?;
        let plane = run_plane(plane, &control).map_err(internal)?;
        Ok(Engine { runtime, listener, control, closed, services, plane, supply, refusals, fabric, directory })
    }

    fn create_fabric(
        options: &EngineOptions,
        directory: &RuntimeDirectory,
    ) -> Result<(Addresses, Fabric, Tap), Problem> {
        let addresses = subnet::choose(directory.path(), options.subnet)?;
        let config = FabricConfig {
            program: options.agent_program.clone(),
            arguments: options.agent_arguments.clone(),
            subnet: addresses.subnet,
            gateway_mac: GATEWAY_MAC,
            mtu: MTU,
            directory: Some(directory.for_agent().map_err(internal)?),
        };
        let (fabric, tap) = Fabric::create(&config).map_err(|error| unsupported(&error))?;
        Ok((addresses, fabric, tap))
    }

    /// Serves until the last host is gone or somebody says stop.
    pub(crate) fn serve(self) -> Result<(), Problem> {
        let Engine { runtime, listener, control, closed, services, plane, supply, refusals, fabric, directory } = self;
        let outcome = runtime.block_on(async {
            tokio::spawn(Arc::clone(&control).reap(closed));
            tokio::spawn(Arc::clone(&control).observe());
            tokio::spawn(Arc::clone(&control).follow_services(services));
            tokio::spawn(Arc::clone(&control).watch_collisions());
            tokio::spawn(Arc::clone(&control).watch_names());
            tokio::spawn(watch(Arc::clone(&control)));
            let router = api::router(Arc::clone(&control));
            let stopped = Arc::clone(&control);
            let server = axum::serve(api::Trusted(listener), router)
                .with_graceful_shutdown(async move { stopped.stopped().await });
            until_stopped(server.into_future(), &control).await
        });
        control.stop_plane();
        let plane = plane.join();
        // They end with the packet loop, which they served.
        let supply = supply.join().and(refusals.join());
        runtime.shutdown_timeout(FAREWELL);
        // The agent ends everything in the network, removes the directory, and we wait for it.
        fabric.end();
        directory.remove();
        outcome.map_err(internal)?;
        supply.map_err(|_| internal("a thread that serves the packet loop panicked"))?;
        plane.map_err(|_| internal("the packet loop panicked"))?.map_err(internal)
    }
}

/// Runs the server; once the engine is to stop, only until every host has ended, and open requests a little longer.
async fn until_stopped(server: impl Future<Output = io::Result<()>>, control: &Arc<Control>) -> io::Result<()> {
    let farewell = async {
        control.stopped().await;
        tokio::join!(tokio::time::sleep(FAREWELL), control.end_all_hosts());
    };
    tokio::pin!(server, farewell);
    tokio::select! {
        () = &mut farewell => Ok(()),
        outcome = &mut server => {
            // It ends by itself when it is told to stop, or fails.
            control.stop("its API has ended");
            control.end_all_hosts().await;
            outcome
        }
    }
}

/// Ends the engine when a signal says so, or nobody makes a host.
async fn watch(control: Arc<Control>) {
    let reason = match watch_all(&control).await {
        Ok(reason) => reason,
        Err(error) => {
            tracing::error!(%error, "can't watch signals");
            return;
        }
    };
    control.stop(reason);
}

async fn watch_all(control: &Control) -> io::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let first_host = tokio::time::sleep(FIRST_HOST);
    tokio::pin!(first_host);
    let mut waits = true;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok("it was told to (SIGTERM)"),
            _ = interrupt.recv() => return Ok("it was told to (SIGINT)"),
            () = &mut first_host, if waits => {
                if control.is_empty() {
                    return Ok("nobody made a host");
                }
                waits = false;
            }
        }
    }
}

/// The gateway as a router to everywhere.
fn stack(addresses: &minato_relay::Network, key: [u8; 16], datagram_segmentation: bool) -> Stack {
    let address = MacAddress(GATEWAY_MAC);
    let mut config = Config::new(Link::Ethernet { address, mtu: MTU, virtio: true }, key);
    config.addresses = convert::gateway(addresses);
    config.any_destination = true;
    config.datagram_segmentation = datagram_segmentation;
    config.tcp.options.receive_buffer_max = BUFFER_MAX;
    config.tcp.options.send_buffer_max = BUFFER_MAX;
    config.tcp.options.first_ack_delay = FIRST_ACK_DELAY;
    Stack::new(std::time::Instant::now(), config)
}

fn random_key() -> io::Result<[u8; 16]> {
    let mut key = [0; 16];
    let count = rustix::rand::getrandom(&mut key, rustix::rand::GetRandomFlags::empty())?;
    if count == key.len() { Ok(key) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Brings the packet loop the sockets that it orders, on a thread that may wait for the agent.
fn run_supply(
    fabric: Arc<Fabric>,
    orders: Receiver<Order>,
    plane: PlaneHandle,
    control: &Arc<Control>,
) -> io::Result<JoinHandle<()>> {
    spawn_vital("supply", control, move || {
        for Order { host, name, kind, family, count } in orders {
            let sockets = fabric.sockets(&name, kind, family, count).unwrap_or_else(|error| {
                tracing::warn!(%error, host = name, "the agent could not make sockets");
                Vec::new()
            });
            plane.send(Command::Supply(Supply { host, kind, family, sockets }));
        }
    })
}

/// Runs the packet loop on a thread of its own.
fn run_plane(plane: Plane, control: &Arc<Control>) -> io::Result<JoinHandle<io::Result<()>>> {
    let failing = Arc::clone(control);
    spawn_vital("packets", control, move || {
        let result = plane.run();
        if let Err(error) = &result {
            tracing::error!(%error, "the packet loop failed");
            failing.stop(&error.to_string());
        }
        result
    })
}

/// Starts a thread without which the engine is of no use.
fn spawn_vital<T: Send + 'static>(
    name: &'static str,
    control: &Arc<Control>,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let vital = Vital { name, control: Arc::clone(control) };
    thread::Builder::new().name(name.into()).spawn(move || {
        let _vital = vital;
        work()
    })
}

/// Stops the engine when this thread ends, also by a panic.
struct Vital {
    name: &'static str,
    control: Arc<Control>,
}

impl Drop for Vital {
    fn drop(&mut self) {
        self.control.stop(&format!("its thread {:?} has ended", self.name));
    }
}

fn listen(runtime: &tokio::runtime::Runtime, directory: &RuntimeDirectory) -> io::Result<UnixListener> {
    let _context = runtime.enter();
    let listener = UnixListener::bind(directory.socket())?;
    std::fs::set_permissions(directory.socket(), std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Why this machine can't have a network, with what to do about it.
fn unsupported(error: &FabricError) -> Problem {
    let check = check::explain(error);
    let what = error.to_string();
    let title = if check.evidence.contains(&what) { check.evidence } else { format!("{what}: {}", check.evidence) };
    let refusal = problem(ProblemKind::Unsupported, title);
    match check.fix {
        Some(fix) => with_fix(refusal, fix),
        None => refusal,
    }
}
