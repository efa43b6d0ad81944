//! One group of the scheduler for all that is measured, as a login session is one under systemd.
//!
//! Where nobody makes such groups, the kernel makes one of each session of processes (`sched_autogroup_enabled`). Then a
//! contender that leaves the terminal's session, as a daemon does, is scheduled apart from the program that it serves, and
//! one that stays in the foreground is not. With a group of control groups the kernel's own do not count (sched(7)).

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const NAME: &str = "minato-bench";

/// What the benchmark runs in.
pub(super) enum Grouping {
    /// Sessions are no groups, or all of them are in one already.
    AsItIs,
    /// This control group, which is made for it.
    Ours(PathBuf),
    /// Each session is a group of its own, and there is nothing that could be done about it.
    Apart,
}

impl Grouping {
    /// Makes the group, if there has to be one.
    pub(super) fn make() -> Grouping {
        if !sessions_are_groups() {
            return Grouping::AsItIs;
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let Some(root) = hierarchy(&mounts) else { return Grouping::Apart };
        let group = root.join(NAME);
        match fs::create_dir(&group) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Grouping::Apart,
            // Without the controller it is a name and nothing else.
            _ if group.join("cpu.shares").exists() || group.join("cpu.weight").exists() => Grouping::Ours(group),
            _ => {
                let _ = fs::remove_dir(&group);
                Grouping::Apart
            }
        }
    }

    /// The control group to enter.
    pub(super) fn directory(&self) -> Option<&Path> {
        match self {
            Grouping::Ours(group) => Some(group),
            Grouping::AsItIs | Grouping::Apart => None,
        }
    }
}

/// Under what conditions this process and those that it starts are scheduled.
pub(super) fn condition() -> &'static str {
    if sessions_are_groups() {
        "Each session of processes is scheduled as a group of its own: minato's engine apart from the programs that it serves, \
         unlike its peers"
    } else {
        "All processes are in one group of the scheduler, as those of a login session are under systemd"
    }
}

/// Whether the kernel schedules each session of processes as a group, this one's among them.
fn sessions_are_groups() -> bool {
    let autogroup = fs::read_to_string("/proc/sys/kernel/sched_autogroup_enabled").unwrap_or_default();
    autogroup.trim() == "1" && !has_group(&fs::read_to_string("/proc/self/cgroup").unwrap_or_default())
}

/// Whether a process with this `/proc/PID/cgroup` is in a control group that is scheduled as one.
fn has_group(cgroup: &str) -> bool {
    cgroup.lines().any(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next().unwrap_or_default(), fields.next().unwrap_or("/"));
        match controllers {
            // Version 2: some ancestor has a weight where the controller is in use.
            "" => Path::new(path).ancestors().any(|group| {
                let group = Path::new("/sys/fs/cgroup").join(group.strip_prefix("/").unwrap_or(group));
                group.join("cpu.weight").exists()
            }),
            controllers => path != "/" && controllers.split(',').any(|name| name == "cpu"),
        }
    })
}

/// Where control groups with processors are mounted, by `/proc/self/mountinfo`: version 1 before version 2.
fn hierarchy(mounts: &str) -> Option<PathBuf> {
    let of = |wanted: &str| {
        mounts.lines().find_map(|line| {
            let (mount, kind) = line.split_once(" - ")?;
            let mut kind = kind.split(' ');
            let (filesystem, options) = (kind.next()?, kind.nth(1)?);
            let has_cpu = filesystem == "cgroup2" || options.split(',').any(|option| option == "cpu");
            (filesystem == wanted && has_cpu).then(|| mount.split(' ').nth(4).map(PathBuf::from))?
        })
    };
    of("cgroup").or_else(|| of("cgroup2"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_hierarchy_with_processors() {
        let v1 = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                  33 31 0:30 / /sys/fs/cgroup/cpuacct rw - cgroup cgroup rw,cpuacct\n\
                  32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu\n\
                  40 31 0:40 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        assert_eq!(hierarchy(v1), Some("/sys/fs/cgroup/cpu".into()));
        let v2 = "31 23 0:28 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(hierarchy(v2), Some("/sys/fs/cgroup".into()));
        assert_eq!(hierarchy("22 1 0:20 / /proc rw - proc proc rw\n"), None);
    }

    #[test]
    fn a_process_in_a_group_of_version_1_needs_none() {
        assert!(has_group("4:memory:/\n1:cpu,cpuacct:/user.slice\n0::/\n"));
        assert!(!has_group("4:memory:/here\n2:cpuacct:/here\n1:cpu:/\n"));
        assert!(!has_group(""));
    }
}
