//! The process table: who runs in a network namespace, and who holds a socket.

use std::{collections::HashMap, time::Duration};

/// A process, as far as it can be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Process ID.
    pub pid: u32,
    /// Process ID of its parent.
    pub parent: u32,
    /// The kernel's short name of the command (`comm`), at most 15 bytes.
    pub name: String,
    /// Argument list, lossily decoded; empty for kernel threads and when it can't be read.
    pub command: Vec<String>,
    /// Working directory; `None` when it can't be read.
    pub cwd: Option<String>,
    /// Effective user ID.
    pub uid: u32,
    /// Time since it started.
    pub age: Duration,
}

/// Reads a process's details. `None`: it is gone.
pub fn describe(pid: u32) -> Option<Process> {
    let _ = pid;
    unimplemented!()
}

/// Process IDs of those in the network namespace with this inode number, in ascending order.
pub fn in_network(network_inode: u64) -> Vec<u32> {
    let _ = network_inode;
    unimplemented!()
}

/// Inode number of the caller's own network namespace.
pub fn own_network() -> u64 {
    unimplemented!()
}

/// Which processes hold which sockets.
#[derive(Clone, Debug, Default)]
pub struct SocketOwners {
    owners: HashMap<u64, Vec<u32>>,
    hidden: bool,
}

/// Who holds a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner<'a> {
    /// These processes (never empty).
    Processes(&'a [u32]),
    /// No process that was visible, but some processes may not be looked into.
    NoPermission,
    /// No process: the kernel itself, a closed socket that lingers, or one that vanished while we looked.
    Nobody,
}

impl SocketOwners {
    /// Looks through the file descriptors of `pids`.
    pub fn of(pids: &[u32]) -> Self {
        let _ = pids;
        unimplemented!()
    }

    /// Looks through the file descriptors of every process.
    pub fn of_machine() -> Self {
        unimplemented!()
    }

    /// Who holds the socket with this inode number.
    pub fn owner(&self, inode: u64) -> Owner<'_> {
        let _ = (inode, &self.owners, self.hidden);
        unimplemented!()
    }
}
