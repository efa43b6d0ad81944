//! `minato up --watch`: notices that a file has changed, and says what is different.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use minato_inspect::ForwardSpec;
use tokio::sync::mpsc;

use crate::failure::Failure;
use crate::file::{Choice, HostPlan, Plan, Problems};
use crate::flags::Name;

/// Between two looks at the files. Editors replace files in many ways; what they have in common is that a name leads to
/// something else afterwards.
const PAUSE: Duration = Duration::from_millis(300);

/// Files that are looked at again and again.
#[derive(Debug)]
pub(super) struct Watched {
    choice: Choice,
    /// What the last plan was read from.
    files: Vec<PathBuf>,
    seen: Vec<(PathBuf, Option<Mark>)>,
}

/// What changes with a file: its device and inode, its length, and when it was written.
type Mark = (u64, u64, u64, i64, i64);

impl Watched {
    /// Watches what a plan was read from.
    pub(super) fn new(choice: Choice, plan: &Plan) -> Watched {
        let mut watched = Watched { choice, files: plan.files.clone(), seen: Vec::new() };
        watched.seen = watched.look();
        watched
    }

    /// Goes on watching by itself, for as long as somebody wants to hear of changes.
    pub(super) fn follow(mut self) -> mpsc::Receiver<Result<Plan, Failure>> {
        let (plans, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            loop {
                let plan = tokio::select! {
                    plan = self.changed() => plan,
                    () = plans.closed() => return,
                };
                if plans.send(plan).await.is_err() {
                    return;
                }
            }
        });
        receiver
    }

    /// Waits for the next change, and reads the files anew.
    async fn changed(&mut self) -> Result<Plan, Failure> {
        loop {
            tokio::time::sleep(PAUSE).await;
            let now = self.look();
            if now == self.seen {
                continue;
            }
            // Whoever is still writing gets the time to finish.
            tokio::time::sleep(PAUSE).await;
            if self.look() == now {
                self.seen = now;
                break;
            }
        }
        let plan = self.choice.plan().map_err(Problems::into_failure)?;
        self.files.clone_from(&plan.files);
        self.seen = self.look();
        Ok(plan)
    }

    fn look(&self) -> Vec<(PathBuf, Option<Mark>)> {
        // An override file may have come since.
        let mut paths = self.choice.paths().unwrap_or_default();
        paths.extend(self.files.iter().filter(|path| !paths.contains(path)).cloned().collect::<Vec<_>>());
        paths.into_iter().map(|path| (path.clone(), mark(&path))).collect()
    }
}

fn mark(path: &PathBuf) -> Option<Mark> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec()))
}

/// What is to be done to get from one plan to another.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Difference {
    /// Hosts that are to end: they are not in the new plan, or are different there.
    pub(super) end: Vec<Name>,
    /// Hosts that are to start, once those of the same name have ended.
    pub(super) start: Vec<HostPlan>,
    /// Hosts that stay, and whose forwards change: those that go, and those that come.
    pub(super) forwards: Vec<(Name, Vec<ForwardSpec>, Vec<ForwardSpec>)>,
}

/// The difference between hosts as they were and as they are to be.
pub(super) fn difference(old: &[HostPlan], new: &[HostPlan]) -> Difference {
    let mut difference = Difference::default();
    for before in old.iter().filter(|before| !new.iter().any(|host| host.name == before.name)) {
        difference.end.push(before.name.clone());
    }
    for host in new {
        match old.iter().find(|before| before.name == host.name) {
            Some(before) if before == host => {}
            Some(before) if before.same_but_fixed_forwards(host) => {
                let (gone, come) = (before.fixed_forwards(), host.fixed_forwards());
                let without = |all: &[ForwardSpec], others: &[ForwardSpec]| {
                    all.iter().filter(|spec| !others.contains(spec)).cloned().collect::<Vec<_>>()
                };
                difference.forwards.push((host.name.clone(), without(&gone, &come), without(&come, &gone)));
            }
            Some(before) => {
                difference.end.push(before.name.clone());
                difference.start.push(host.clone());
            }
            None => difference.start.push(host.clone()),
        }
    }
    difference
}

#[cfg(test)]
mod tests;
