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

/// What may happen to a file, or in its directory.
const CHANGE: WatchFlags = WatchFlags::MODIFY
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::ATTRIB)
    .union(APPEARANCE)
    .union(WatchFlags::DELETE);
const APPEARANCE: WatchFlags = WatchFlags::CREATE.union(WatchFlags::MOVED_TO);

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

    /// Watches what stands in these places now: call it after each change was taken, and look at them afterwards.
    pub fn watch(&self) {
        // The file that a link leads to may be replaced as well as the link, and come later than it; it may also be a mount of
        // its own, of which its directory is told nothing.
        let target = fs::canonicalize(RESOLV_CONF).or_else(|_| {
            let directory = Path::new(RESOLV_CONF).parent().unwrap_or(Path::new("/"));
            fs::read_link(RESOLV_CONF).map(|link| directory.join(link))
        });
        let target = target.unwrap_or_default();
        self.add(&target, CHANGE);
        let files = SERVICES.iter().map(Path::new).chain([Path::new(RESOLV_CONF), &target]);
        files.filter_map(Path::parent).for_each(|directory| self.watch_directory(directory));
    }

    /// Watches a directory; while it is not there, those above it, in which it or what leads to it will appear.
    fn watch_directory(&self, directory: &Path) {
        if self.add(directory, CHANGE) {
            return;
        }
        // From the top: what appears below one that is watched is told, and what was there before is watched next.
        let above: Vec<&Path> = directory.ancestors().skip(1).collect();
        if above.into_iter().rev().all(|directory| self.add(directory, APPEARANCE)) {
            self.add(directory, CHANGE);
        }
    }

    /// Whether it is there. What it is watched for already stays.
    fn add(&self, path: &Path, what: WatchFlags) -> bool {
        inotify::add_watch(&self.0, path, what | WatchFlags::MASK_ADD).is_ok()
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
