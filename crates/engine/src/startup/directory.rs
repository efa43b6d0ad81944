//! The network's private directory, and the lock that makes its engine the only one.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use minato_host::agent::{Directory, remove_directory};
use minato_inspect::{Problem, ProblemKind};
use rustix::fs::{FlockOperation, flock};

use crate::problem::{internal, problem};

/// How often an ending engine may remove the directory between two of our steps.
const ATTEMPTS: usize = 100;
/// HTTP's "Locked", by which whoever starts an engine tells this refusal from others.
const RUNS_ALREADY: u16 = 423;

/// A directory that is ours alone, locked.
#[derive(Debug)]
pub(crate) struct RuntimeDirectory {
    path: PathBuf,
    lock: File,
    /// The directory itself, locked too: what ages temporary files out (systemd-tmpfiles) leaves those in it alone.
    _kept: Option<File>,
}

impl RuntimeDirectory {
    /// Makes the directory if need be, checks that nobody else may use it, and locks it.
    pub(crate) fn claim(path: &Path) -> Result<RuntimeDirectory, Problem> {
        let lock = claim_lock(path)?;
        // What an engine left that had no time to clean up.
        let _ = fs::remove_file(path.join("api.sock"));
        let _ = fs::remove_dir_all(path.join("hosts"));
        let kept = File::open(path).ok();
        if let Some(kept) = &kept {
            let _ = flock(kept, FlockOperation::NonBlockingLockShared);
        }
        Ok(RuntimeDirectory { path: path.to_owned(), lock, _kept: kept })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path.join("api.sock")
    }

    /// The same for the agent, which cleans up after us.
    pub(crate) fn for_agent(&self) -> io::Result<Directory> {
        Ok(Directory { path: self.path.clone(), lock: self.lock.try_clone()?.into() })
    }

    /// Removes the directory if it is still ours: usually the agent has done so.
    pub(crate) fn remove(self) {
        if let Err(error) = remove_directory(&self.path, self.lock.as_fd()) {
            tracing::warn!(%error, path = %self.path.display(), "can't remove the network's directory");
        }
    }
}

/// Makes the directory and locks it, once more when an engine that was ending removed it meanwhile.
fn claim_lock(path: &Path) -> Result<File, Problem> {
    for _ in 0..ATTEMPTS {
        for directory in [path.parent().unwrap_or(path), path] {
            match DirBuilder::new().mode(0o700).recursive(true).create(directory) {
                // It was there, and was gone when it was looked at again; or it is no directory.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => made.map_err(|error| internal(format!("can't make {}: {error}", directory.display())))?,
            }
            check_private(directory)?;
        }
        match lock(&path.join("engine.lock")) {
            Ok(lock) => return Ok(lock),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let refusal = problem(ProblemKind::Conflict, "an engine of this network runs already");
                return Err(Problem { status: RUNS_ALREADY, ..refusal });
            }
            Err(error) => return Err(internal(format!("can't lock {}: {error}", path.display()))),
        }
    }
    Err(internal(format!("can't keep {}: something removes it", path.display())))
}

fn check_private(directory: &Path) -> Result<(), Problem> {
    let metadata = match fs::symlink_metadata(directory) {
        // Removed again by an engine that was ending; whoever makes it anew checks it anew.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata.map_err(internal)?,
    };
    let own = rustix::process::geteuid().as_raw();
    let why = if !metadata.is_dir() {
        "it is not a directory".to_owned()
    } else if metadata.uid() != own {
        format!("it belongs to user {}", metadata.uid())
    } else if metadata.mode() & 0o077 != 0 {
        format!("others may use it (mode {:o})", metadata.mode() & 0o777)
    } else {
        return Ok(());
    };
    Err(problem(ProblemKind::Internal, format!("can't trust the directory {}: {why}", directory.display())))
}

/// Locks the file at `path`, which is made if need be.
fn lock(path: &Path) -> io::Result<File> {
    loop {
        let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(path)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        // An engine that was ending may have removed the file between our two steps: then the lock is worth nothing.
        let is_current = |metadata: fs::Metadata| file.metadata().is_ok_and(|own| own.ino() == metadata.ino());
        if fs::metadata(path).is_ok_and(is_current) {
            return Ok(file);
        }
    }
}

/// Whether the engine that the directory belongs to runs.
pub(super) fn is_locked(directory: &Path) -> bool {
    let Ok(file) = File::open(directory.join("engine.lock")) else { return false };
    flock(&file, FlockOperation::NonBlockingLockShared).is_err()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A directory for one test, removed at its end.
    struct Temporary(PathBuf);

    impl Temporary {
        fn new(name: &str) -> Temporary {
            let path = std::env::temp_dir().join(format!("minato-test-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            DirBuilder::new().mode(0o700).create(&path).unwrap();
            Temporary(path)
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn only_one_engine_has_a_directory() {
        let temporary = Temporary::new("one");
        let path = temporary.0.join("minato/default");
        let first = RuntimeDirectory::claim(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        assert!(is_locked(&path));
        assert_eq!(RuntimeDirectory::claim(&path).unwrap_err().kind, ProblemKind::Conflict);
        drop(first);
        assert!(!is_locked(&path));
        let replaced = RuntimeDirectory::claim(&path).unwrap();
        fs::remove_dir_all(&path).unwrap();
        let current = RuntimeDirectory::claim(&path).unwrap();
        replaced.remove();
        assert!(path.exists(), "somebody else's was removed");
        current.remove();
        assert!(!path.exists());
    }

    /// Several that come and go at once: each has the directory for itself, and none fails for another reason than that.
    #[test]
    fn claiming_copes_with_removing() {
        let temporary = Temporary::new("race");
        let path = temporary.0.join("minato/default");
        let come_and_go = || {
            let mut turns = 0;
            while turns < 200 {
                match RuntimeDirectory::claim(&path) {
                    Ok(claimed) => {
                        let socket = claimed.socket();
                        assert!(!socket.exists(), "somebody else is here");
                        fs::write(&socket, "").expect("the directory is ours");
                        assert!(socket.exists(), "somebody else removed it");
                        claimed.remove();
                        turns += 1;
                    }
                    Err(refusal) => assert_eq!(refusal.kind, ProblemKind::Conflict, "{}", refusal.title),
                }
            }
        };
        std::thread::scope(|scope| (0..3).for_each(|_| drop(scope.spawn(come_and_go))));
        assert!(!path.exists());
    }

    #[test]
    fn a_directory_that_others_may_use_is_refused() {
        let temporary = Temporary::new("others");
        let path = temporary.0.join("minato/default");
        fs::create_dir_all(&path).unwrap();
        for (open, tight) in [(&path, path.parent().unwrap()), (&path.parent().unwrap().to_owned(), path.as_path())] {
            fs::set_permissions(open, fs::Permissions::from_mode(0o750)).unwrap();
            fs::set_permissions(tight, fs::Permissions::from_mode(0o700)).unwrap();
            let refusal = RuntimeDirectory::claim(&path).unwrap_err();
            assert!(refusal.title.contains("mode 750"), "{}", refusal.title);
        }
    }

    #[test]
    fn what_a_dead_engine_left_is_cleared() {
        let temporary = Temporary::new("left");
        let path = temporary.0.join("default");
        let first = RuntimeDirectory::claim(&path).unwrap();
        fs::write(first.socket(), "").unwrap();
        fs::create_dir_all(path.join("hosts/web")).unwrap();
        drop(first);
        let second = RuntimeDirectory::claim(&path).unwrap();
        assert!(!second.socket().exists() && !path.join("hosts").exists());
    }
}
