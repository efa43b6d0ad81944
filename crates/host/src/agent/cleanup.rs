//! What is left to do on disk when the engine is gone.

use std::{fs, path::Path};

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
