//! What must not be there when a test is over.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use super::processes;

/// A host that ends gives its processes half a second before SIGKILL; the rest is for a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Panics, with what it is, if anything is still there that the test's programs made.
pub(crate) fn assert_none() {
    let left = wait_for_none();
    assert!(left.is_empty(), "left behind:\n{}", left.join("\n"));
}

/// Gives the test's programs a moment to go, and tells what does not.
pub(crate) fn wait_for_none() -> Vec<String> {
    let start = Instant::now();
    loop {
        let left = found();
        if left.is_empty() || start.elapsed() > PATIENCE {
            return left;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Directories of networks: `$XDG_RUNTIME_DIR/minato/NET`, or `$TMPDIR/minato-UID/NET`.
pub(crate) fn runtime_directories() -> Vec<PathBuf> {
    let mut parents: Vec<PathBuf> = entries("/run/user").into_iter().map(|user| user.join("minato")).collect();
    let is_ours = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("minato-"));
    parents.extend(entries("/run/tmp").into_iter().filter(is_ours));
    parents.iter().flat_map(entries).collect()
}

fn found() -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    found.extend(
        processes::all().iter().filter(|process| !process.is_of_harness()).map(|process| format!("process {process}")),
    );
    found.extend(runtime_directories().iter().map(|path| format!("runtime directory {}", path.display())));
    let known = ["lo", "up0", "all", "default"];
    let interfaces =
        entries("/proc/sys/net/ipv4/conf").into_iter().filter_map(|path| path.file_name()?.to_str().map(str::to_owned));
    found.extend(interfaces.filter(|name| !known.contains(&name.as_str())).map(|name| format!("interface {name}")));
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let namespaces = mounts.lines().filter(|line| line.starts_with("nsfs ") && !line.contains(" /run/netns/outside "));
    found.extend(namespaces.map(|line| format!("namespace {line}")));
    found
}

fn entries(directory: impl AsRef<std::path::Path>) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}
