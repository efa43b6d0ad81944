//! Who belongs to a host, also after leaving its network namespace, and how to end them.

use std::{
    collections::{HashMap, HashSet},
    os::fd::OwnedFd,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use super::{Stat, all, is_within_user_namespace, namespace_of};

/// How long to go on after processes that the kernel can't end (uninterruptible sleep).
const PATIENCE: Duration = Duration::from_secs(2);
/// Most processes that are held while they have time to end. More than these are found anew at each look.
const MOST_HELD: usize = 512;

/// The namespaces of a host or of several. Who is in one of them belongs to it, and so do their descendants: a browser puts
/// its own processes into network namespaces without any network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Members {
    pub(crate) networks: Vec<u64>,
    pub(crate) mounts: Vec<u64>,
    /// Nothing is different in a host's time namespace. But hardly a program leaves it, and with it a process is known that
    /// has left the other two and whose parent has ended.
    pub(crate) times: Vec<u64>,
    /// The user namespace of a whole network. Nobody leaves it but into one that was made inside of it.
    pub(crate) user: Option<u64>,
}

impl Members {
    /// Adds another host's.
    pub(crate) fn extend(&mut self, other: &Self) {
        self.networks.extend(&other.networks);
        self.mounts.extend(&other.mounts);
        self.times.extend(&other.times);
        self.user = self.user.or(other.user);
    }

    /// Process IDs of every member except the caller, in ascending order.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let mut pids: Vec<u32> = Hunt::of(self).strangers().iter().map(|stranger| stranger.pid).collect();
        pids.sort_unstable();
        pids
    }

    /// Kills every member except the caller, again and again until none is left: one may fork while it is looked for.
    pub(crate) fn kill_until_none(&self) {
        Hunt::of(self).kill_until_none();
    }

    /// Whether a process is in one of the namespaces.
    fn include(&self, pid: u32) -> bool {
        let is_in = |kind, known: &[u64]| {
            !known.is_empty() && namespace_of(pid, kind).is_some_and(|inode| known.contains(&inode))
        };
        is_in("net", &self.networks)
            || is_in("mnt", &self.mounts)
            || is_in("time", &self.times)
            || self.user.is_some_and(|user| is_within_user_namespace(pid, user))
    }
}

/// Ends a host's processes: SIGTERM, and SIGKILL to what is left after `grace`. Returns when none is left, at the latest
/// two seconds after the grace.
pub(crate) fn terminate(members: &Members, grace: Duration) {
    let start = Instant::now();
    let mut hunt = Hunt::of(members);
    if grace > Duration::ZERO && hunt.pass(Some(Signal::TERM)) == 0 {
        return;
    }
    let mut pause = Duration::from_millis(1);
    while start.elapsed() < grace {
        if hunt.pass(None) == 0 {
            return;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
    hunt.kill_until_none();
}

/// Looks for members again and again. Whoever was found once is held by a process descriptor: it stays known when the
/// parent ends by which it was found, and no signal reaches another process that has got its number.
struct Hunt<'a> {
    members: &'a Members,
    known: HashMap<u32, OwnedFd>,
}

impl<'a> Hunt<'a> {
    fn of(members: &'a Members) -> Self {
        Self { members, known: HashMap::new() }
    }

    fn kill_until_none(&mut self) {
        let start = Instant::now();
        while self.pass(Some(Signal::KILL)) > 0 && start.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Looks for members, sends a signal to every one if there is any to send, and returns how many there are.
    fn pass(&mut self, signal: Option<Signal>) -> usize {
        self.known.retain(|_, process| !has_ended(process));
        // Before the signal: whose parent it ends would not be found.
        let strangers = self.strangers();
        let send = |process: &OwnedFd| {
            if let Some(signal) = signal {
                // It may have ended meanwhile.
                let _ = pidfd_send_signal(process, signal);
            }
        };
        self.known.values().for_each(send);
        let mut count = self.known.len();
        for stranger in strangers {
            if let Some(process) = stranger.hold(self.members) {
                send(&process);
                count += 1;
                if self.known.len() < MOST_HELD {
                    self.known.insert(stranger.pid, process);
                }
            }
        }
        count
    }

    /// The members that are not known yet.
    fn strangers(&self) -> Vec<Stranger> {
        let own = std::process::id();
        let unknown = all().filter(|pid| *pid != own && !self.known.contains_key(pid));
        let (members, others): (Vec<u32>, Vec<u32>) = unknown.partition(|&pid| self.members.include(pid));
        let mut strangers: Vec<Stranger> = members.iter().map(|&pid| Stranger { pid, start: None }).collect();
        let ancestors: HashSet<u32> = self.known.keys().copied().chain(members).collect();
        if !ancestors.is_empty() {
            strangers.extend(descendants(ancestors, &others));
        }
        strangers
    }
}

/// A process that was just found.
struct Stranger {
    pid: u32,
    /// When it had started, if it was found as somebody's descendant.
    start: Option<u64>,
}

impl Stranger {
    /// Takes hold of it; `None` if it has ended, whoever has its number now.
    fn hold(&self, members: &Members) -> Option<OwnedFd> {
        let pid = Pid::from_raw(self.pid.try_into().ok()?)?;
        let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        let is_the_same = match self.start {
            None => members.include(self.pid),
            Some(start) => Stat::of(self.pid).is_some_and(|stat| stat.start() == Some(start)),
        };
        // A zombie still has its user namespace.
        (is_the_same && !has_ended(&process)).then_some(process)
    }
}

/// Those of `others` whose parent, or its parent and so on, is among the `ancestors`.
fn descendants(mut ancestors: HashSet<u32>, others: &[u32]) -> Vec<Stranger> {
    let born = |&pid: &u32| {
        let stat = Stat::of(pid)?;
        // Nothing can end a zombie any more.
        (!stat.is_dead()).then_some((stat.parent()?, Stranger { pid, start: Some(stat.start()?) }))
    };
    let mut left: Vec<(u32, Stranger)> = others.iter().filter_map(born).collect();
    let mut found = Vec::new();
    loop {
        let (belong, rest): (Vec<_>, Vec<_>) = left.into_iter().partition(|(parent, _)| ancestors.contains(parent));
        if belong.is_empty() {
            return found;
        }
        ancestors.extend(belong.iter().map(|(_, stranger)| stranger.pid));
        found.extend(belong.into_iter().map(|(_, stranger)| stranger));
        left = rest;
    }
}

/// Whether a process has ended, with all its threads.
fn has_ended(process: &OwnedFd) -> bool {
    let mut ended = [PollFd::new(process, PollFlags::IN)];
    rustix::io::retry_on_intr(|| poll(&mut ended, Some(&Timespec::default()))).is_ok_and(|ready| ready > 0)
}
