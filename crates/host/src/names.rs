//! How this machine resolves names, which its hosts must not do: the files that are covered there, and when they change.

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    path::Path,
};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

/// Where resolvers are named (resolv.conf(5)); it may be a link.
pub const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Where programs have services of the machine resolve names for them, past the servers of resolv.conf: nss-resolve, and
/// glibc's cache.
pub(crate) const SERVICES: [&str; 2] = ["/run/systemd/resolve/io.systemd.Resolve", "/run/nscd/socket"];

/// Becomes readable when one of these files is changed, replaced, made or removed, or perhaps was.
#[derive(Debug)]
pub struct Changes(OwnedFd);

impl Changes {
    /// Changes from the first [`Changes::watch`] on.
    ///
    /// # Errors
    /// The user has too many such watchers.
    pub fn follow() -> io::Result<Changes> {
        Ok(Changes(inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?))
    }

    /// Watches what stands in these places now: call it after each change.
    pub fn watch(&self) {
        let changes = WatchFlags::MODIFY
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::ATTRIB
            | WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE;
        // The file that a link leads to may be replaced as well as the link; it may also be a mount of its own, of which its
        // directory is told nothing.
        let target = fs::canonicalize(RESOLV_CONF).unwrap_or_default();
        let parents = SERVICES.iter().map(Path::new).chain([Path::new(RESOLV_CONF), &target]).filter_map(Path::parent);
        for path in parents.chain([target.as_path()]) {
            // What is not there can't be watched; its directory, or the one above, will tell.
            let _ = inotify::add_watch(&self.0, path, changes);
        }
    }

    /// Takes every change that was told.
    pub fn drain(&self) {
        let mut buffer = [0; 4096];
        while rustix::io::read(&self.0, &mut buffer).is_ok_and(|length| length > 0) {}
    }
}

impl AsFd for Changes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Changes {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
