//! Who belongs to a host, also after leaving its network namespace, and how to end them.

use std::{
    collections::HashSet,
    fs, thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{all, namespace_of, stat_fields};

/// How long to go on after processes that the kernel can't end (uninterruptible sleep).
const PATIENCE: Duration = Duration::from_secs(2);

/// The namespaces of a host or of several. Who is in one of its network or mount namespaces belongs to it, and so do their
/// descendants: a browser puts its own processes into network namespaces without any network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Members {
    pub(crate) networks: Vec<u64>,
    pub(crate) mounts: Vec<u64>,
}

impl Members {
    /// Sends a signal to every member except the caller, and returns how many there were.
    pub(crate) fn signal(&self, signal: Signal) -> usize {
        let members = self.find();
        for &pid in &members {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                // It may have ended meanwhile.
                let _ = kill_process(pid, signal);
            }
        }
        members.len()
    }

    /// Kills every member except the caller, again and again until none is left: one may fork while it is looked for.
    pub(crate) fn kill_until_none(&self) {
        let start = Instant::now();
        while self.signal(Signal::KILL) > 0 && start.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Process IDs of the members, without the caller's.
    fn find(&self) -> HashSet<u32> {
        let own = std::process::id();
        let (mut members, mut others) = (HashSet::new(), Vec::new());
        for pid in all().filter(|&pid| pid != own) {
            let is_in = |kind, known: &[u64]| namespace_of(pid, kind).is_some_and(|inode| known.contains(&inode));
            if is_in("net", &self.networks) || (!self.mounts.is_empty() && is_in("mnt", &self.mounts)) {
                members.insert(pid);
            } else {
                others.push(pid);
            }
        }
        if !members.is_empty() {
            add_descendants(&mut members, &others);
        }
        members
    }
}

/// Ends a host's processes: SIGTERM, and SIGKILL to what is left after `grace`. Returns when none is left, at the latest
/// two seconds after the grace.
pub(crate) fn terminate(members: &Members, grace: Duration) {
    let start = Instant::now();
    if grace > Duration::ZERO && members.signal(Signal::TERM) == 0 {
        return;
    }
    let mut pause = Duration::from_millis(1);
    while start.elapsed() < grace {
        if members.find().is_empty() {
            return;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
    members.kill_until_none();
}

/// Adds those of `others` whose parent, or its parent and so on, is a member.
fn add_descendants(members: &mut HashSet<u32>, others: &[u32]) {
    let mut parents: Vec<(u32, u32)> = others.iter().filter_map(|&pid| Some((pid, parent(pid)?))).collect();
    loop {
        let before = members.len();
        parents.retain(|(pid, parent)| {
            let belongs = members.contains(parent);
            if belongs {
                members.insert(*pid);
            }
            !belongs
        });
        if members.len() == before {
            return;
        }
    }
}

/// The parent of a process; `None` for one that is gone, or a zombie, which nothing can end any more.
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat_fields(&stat)?;
    if matches!(fields.first(), Some(&("Z" | "X"))) { None } else { fields.get(1)?.parse().ok() }
}
