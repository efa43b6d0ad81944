//! Getting a program into a host: what a forked child does between `fork` and `exec`.

use std::{io, process::Command};

use serde::{Deserialize, Serialize};

/// Paths of a host's namespaces, in the order in which they are joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// User namespace; `None` when the network was made by real root, without one.
    pub user: Option<String>,
    /// Network namespace.
    pub network: String,
    /// Mount namespace.
    pub mount: String,
}

/// As whom the program runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Identity {
    /// As the caller.
    #[default]
    Own,
    /// As root inside a nested user namespace that maps 0 to the caller. The same as `Own` for real root.
    MapRoot,
}

/// A host's namespaces, opened: ready to be joined by a child, also when the agent is gone meanwhile.
#[derive(Debug)]
pub struct Enter {}

impl Enter {
    /// Opens the namespaces.
    ///
    /// # Errors
    /// The agent is gone, or belongs to another user.
    pub fn open(namespaces: &Namespaces, identity: Identity) -> Result<Self, EnterError> {
        let _ = (namespaces, identity);
        unimplemented!()
    }

    /// Makes `command` join them in its child before it executes the program. Working directory, environment,
    /// terminal and signals stay as they are.
    ///
    /// A failure in the child comes out of `Command::spawn` as its `io::Error`.
    pub fn apply(self, command: &mut Command) {
        let _ = command;
        unimplemented!()
    }
}

/// Why a host can't be entered.
#[derive(Debug, thiserror::Error)]
#[error("can't open the namespace {path}: {source}")]
pub struct EnterError {
    /// Path of the namespace.
    pub path: String,
    /// The kernel's reason.
    pub source: io::Error,
}
