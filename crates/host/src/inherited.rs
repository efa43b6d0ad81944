//! What a process gets from whoever started it.

use std::{fs, io};

use crate::sys;

/// Closes every descriptor but the standard ones: what a starter had open by accident would stay open for as long as this
/// process lives. To be called first thing, before this process has opened anything.
///
/// # Errors
/// The kernel has no `close_range` (before Linux 5.9), or this process has other threads, which may use descriptors.
pub fn close_descriptors() -> io::Result<()> {
    let threads = fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        return Err(io::Error::other("descriptors may be in use: there are other threads"));
    }
    sys::close_from(libc::STDERR_FILENO + 1)
}
