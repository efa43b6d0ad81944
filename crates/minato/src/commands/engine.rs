//! `minato __engine`: the process that serves a network, as a client starts it.

use std::path::PathBuf;

use minato_engine::{EngineOptions, FixedSubnet};

use super::DONE;
use crate::background;
use crate::failure::Failure;
use crate::flags::Name;
use crate::program;

/// Leaves the session of whoever started it and serves until the last host is gone. Standard output is the pipe on
/// which the starter waits for one line.
pub(super) fn engine(network: &Name, directory: PathBuf, subnet: Option<FixedSubnet>) -> Result<u8, Failure> {
    program::rename("minato-engine");
    if let Err(error) = minato_host::inherited::close_descriptors() {
        // Standard error is the engine's log.
        eprintln!("what the engine inherited stays open: {error}");
    }
    background::leave_session();
    let ready =
        background::take_pipe().map_err(|error| Failure::caused("the engine cannot leave its starter", error))?;
    let options = EngineOptions {
        network: network.to_string(),
        runtime_directory: directory,
        subnet,
        agent_program: "/proc/self/exe".into(),
        agent_arguments: vec!["__agent".into()],
        ready: Some(ready),
    };
    minato_engine::run(options).map_err(|error| Failure::from(*error.0))?;
    Ok(DONE)
}
