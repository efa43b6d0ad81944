//! What outlasts networks: `$XDG_STATE_HOME/minato/NAME`, below `~/.local/state` without that variable.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// The directory of this name. Nothing is created.
pub(crate) fn path(name: &str) -> Result<PathBuf, Failure> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    let missing = || Failure::usage("there is no place to write things down").fix("export HOME or XDG_STATE_HOME");
    state.map(|state| state.join("minato").join(name)).ok_or_else(missing)
}

/// Makes a directory with what leads to it, for this user alone.
pub(crate) fn create(directory: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).recursive(true).create(directory)
}
