//! What was said last in a network of `up -d` that has ended by itself: kept in the user's state directory until the next `up` or
//! `down`, because the network's own directory goes with it, and nobody saw it end. Those of the last few networks are.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{Logs, before};
use crate::flags::Name;
use crate::state_dir;

/// Where the logs of ended networks are, a directory for each.
const DIRECTORY: &str = "logs";
/// Of how many networks at most: instances have names that may never come again.
const NETWORKS: usize = 10;

/// The kept logs of a network, if there are any, and how long ago it has ended.
pub(super) fn of(network: &Name) -> Option<(PathBuf, Duration)> {
    let directory = path(network)?;
    let ended = fs::metadata(&directory).ok()?.modified().ok()?;
    Some((directory, ended.elapsed().unwrap_or_default()))
}

/// Forgets them.
pub(in crate::up) fn forget(network: &Name) {
    if let Some(directory) = path(network) {
        let _ = fs::remove_dir_all(directory);
    }
}

/// Removes all of these directories but the newest.
fn leave_newest(parent: &Path, count: usize) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified());
    let mut directories: Vec<(SystemTime, PathBuf)> =
        entries.flatten().filter_map(|entry| Some((modified(&entry.path()).ok()?, entry.path()))).collect();
    directories.sort_unstable();
    for (_, directory) in directories.iter().rev().skip(count) {
        let _ = fs::remove_dir_all(directory);
    }
}

fn path(network: &Name) -> Option<PathBuf> {
    Some(state_dir::path(DIRECTORY).ok()?.join(network.as_str()))
}

impl Logs {
    /// Keeps the newer file of each host, from its descriptor: an engine that was killed has its directory removed at once. What
    /// can't be kept is lost, as it would be without.
    pub(in crate::up) fn keep(&self, network: &Name) {
        forget(network);
        let Some(directory) = path(network) else { return };
        directory.parent().into_iter().for_each(|parent| leave_newest(parent, NETWORKS - 1));
        let keep = || -> io::Result<()> {
            state_dir::create(&directory)?;
            for (host, log) in &self.files {
                let mut text = vec![0; usize::try_from(log.length).unwrap_or(0)];
                log.file.read_exact_at(&mut text, 0)?;
                // As the older file of two: so its beginning says whether there was one before it.
                let mut options = OpenOptions::new();
                options.write(true).create_new(true).mode(0o600).open(before(&directory, host))?.write_all(&text)?;
            }
            Ok(())
        };
        let _ = keep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_removed() {
        let base = tempfile::tempdir().expect("a directory");
        // Not in the order of their names.
        for (name, age) in [("a", 30), ("b", 10), ("c", 40), ("d", 20)] {
            let directory = base.path().join(name);
            fs::create_dir(&directory).expect("made");
            fs::write(directory.join("web.jsonl"), "{}").expect("written");
            let ended = SystemTime::now() - Duration::from_secs(age);
            fs::File::open(&directory).and_then(|file| file.set_modified(ended)).expect("a time");
        }
        leave_newest(base.path(), 2);
        let left = |name: &str| base.path().join(name).exists();
        assert_eq!(["a", "b", "c", "d"].map(left), [false, true, false, true]);
        leave_newest(&base.path().join("nonesuch"), 2);
    }
}
