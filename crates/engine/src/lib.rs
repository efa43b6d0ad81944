//! The event loop that wires host, relay and transport together, and the control API.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods)]

mod api;
mod control;
mod convert;
mod engine;
mod events;
mod log;
mod machine;
mod plane;
mod problem;
pub mod rows;
mod startup;
mod subnet;
pub mod unheld;

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Mutex;

use minato_inspect::Problem;

pub use control::{RESERVED_NAMES, web_port};
use log::Log;
use startup::ready::announce;
pub use subnet::{FixedSubnet, FixedSubnetError, most_hosts};

/// What an engine is started with.
#[derive(Debug)]
pub struct EngineOptions {
    /// The network's name, an RFC 1123 label.
    pub network: String,
    /// The network's private directory: `api.sock`, `engine.lock`, `hosts/NAME/resolv.conf`. Made if it does not
    /// exist; refused if it belongs to somebody else or others may enter it.
    pub runtime_directory: PathBuf,
    /// The network's subnet; `None` for one that is free.
    pub subnet: Option<FixedSubnet>,
    /// The program that calls `minato_host::agent::main` when it gets `agent_arguments`.
    pub agent_program: PathBuf,
    /// Its arguments.
    pub agent_arguments: Vec<OsString>,
    /// Where one line of JSON is written when the engine is ready (`{"ready":true}`) or can't start (a
    /// [`Problem`]); closed after that. [`ready_file`] makes it of an inherited descriptor's number.
    pub ready: Option<File>,
}

/// Why an engine could not start, or stopped otherwise than in good order.
#[derive(Debug)]
pub struct EngineError(pub Box<Problem>);

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.title)
    }
}

impl std::error::Error for EngineError {}

/// Opens the write end of a pipe that the parent left in descriptor `number`, without taking that descriptor over.
pub fn ready_file(number: u32) -> std::io::Result<File> {
    File::options().write(true).open(format!("/proc/self/fd/{number}"))
}

/// Runs an engine until its last host is gone or it is told to stop (SIGTERM, SIGINT). Blocks.
///
/// # Errors
/// What kept it from starting, which was also written to [`EngineOptions::ready`]. Another engine of the same network
/// that runs already is a [`Conflict`](minato_inspect::ProblemKind::Conflict).
pub fn run(mut options: EngineOptions) -> Result<(), EngineError> {
    // Standard error is the engine's log. Whoever has set up another subscriber keeps it.
    if let Ok(stderr) = std::io::stderr().as_fd().try_clone_to_owned() {
        let log = Mutex::new(Log::new(stderr.into()));
        let _ = tracing_subscriber::fmt().with_writer(log).with_ansi(false).try_init();
    }
    let ready = options.ready.take();
    let outcome = match engine::Engine::start(&options) {
        Ok(engine) => {
            announce(ready, Ok(()));
            engine.serve()
        }
        Err(problem) => {
            announce(ready, Err(&problem));
            Err(problem)
        }
    };
    outcome.map_err(|problem| EngineError(Box::new(problem)))
}
