//! The engine's private directory, which goes when the engine does.

use std::{
    fs::{self, DirEntry, Metadata},
    io,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
};

/// A directory that the agent removes when the engine is gone.
#[derive(Debug)]
pub struct Directory {
    /// Where it is.
    pub path: PathBuf,
    /// The file in it on which the engine called `flock`. The agent holds it too, so that the next engine of this
    /// network starts only when this one's agent has cleaned up.
    pub lock: OwnedFd,
}

/// Removes the directory at `path` with what it holds, if `lock` is the lock file in it: otherwise it is gone already, and
/// what is there now is somebody else's. The lock file goes last, because from then on another engine may come; one that
/// is faster than our last step keeps the directory.
///
/// # Errors
/// Something in it can't be removed.
pub fn remove_directory(path: &Path, lock: BorrowedFd<'_>) -> io::Result<()> {
    let own = rustix::fs::fstat(lock)?;
    let is_own = |metadata: Metadata| (metadata.dev(), metadata.ino()) == (own.st_dev, own.st_ino);
    let Some(entries) = unless_gone(fs::read_dir(path))? else { return Ok(()) };
    let entries = entries.collect::<io::Result<Vec<DirEntry>>>()?;
    let is_lock = |entry: &&DirEntry| entry.metadata().is_ok_and(is_own);
    let (locks, others): (Vec<_>, Vec<_>) = entries.iter().partition(is_lock);
    if locks.is_empty() {
        return Ok(());
    }
    for entry in others {
        let is_directory = entry.file_type()?.is_dir();
        unless_gone(if is_directory { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) })?;
    }
    for entry in locks {
        unless_gone(fs::remove_file(entry.path()))?;
    }
    match fs::remove_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        result => unless_gone(result).map(drop),
    }
}

/// What is gone already is fine.
fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::AsFd};

    use super::*;

    #[test]
    fn only_the_directory_with_the_lock_is_removed() {
        let path = std::env::temp_dir().join(format!("minato-directory-{}", std::process::id()));
        fs::create_dir_all(path.join("hosts/web")).unwrap();
        let lock = File::create(path.join("engine.lock")).unwrap();
        fs::write(path.join("api.sock"), "").unwrap();
        remove_directory(&path, lock.as_fd()).unwrap();
        assert!(!path.exists());
        remove_directory(&path, lock.as_fd()).unwrap();

        // The next engine's, at the same place.
        fs::create_dir_all(&path).unwrap();
        let next = File::create(path.join("engine.lock")).unwrap();
        fs::write(path.join("api.sock"), "").unwrap();
        remove_directory(&path, lock.as_fd()).unwrap();
        assert!(path.join("engine.lock").exists() && path.join("api.sock").exists(), "somebody else's was removed");
        remove_directory(&path, next.as_fd()).unwrap();
        assert!(!path.exists());
    }
}
