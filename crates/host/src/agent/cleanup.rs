//! What is left to do when a host ends or the engine is gone.

use std::{
    fs,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::process;

/// Time after which to give up on processes that the kernel can't end (uninterruptible sleep).
const PATIENCE: Duration = Duration::from_secs(2);

/// Kills every process in these network namespaces except the caller, again and again until none is left: a process
/// may fork while it is looked for.
pub(super) fn kill_until_none(networks: &[u64]) {
    let start = Instant::now();
    while process::signal_networks(networks, Signal::KILL) > 0 && start.elapsed() < PATIENCE {
        sleep(Duration::from_millis(1));
    }
}

/// Removes a file, or a directory and what it holds; what is gone already is fine.
pub(super) fn remove(path: &Path) {
    let result = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    if let Err(error) = result
        && error.kind() != std::io::ErrorKind::NotFound
    {
        // Standard error is the engine's log.
        eprintln!("minato-agent: can't remove {}: {error}", path.display());
    }
}
