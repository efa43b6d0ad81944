//! The process table: who runs in a network namespace, and who holds a socket.

mod members;
mod owners;

use std::{
    collections::HashMap,
    fs, io,
    os::fd::{AsFd, OwnedFd, RawFd},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{Pid, test_kill_process},
};

pub(crate) use self::members::{Members, terminate};
pub use self::owners::{Owner, SocketOwners};
use crate::sys;

/// A process, as far as it can be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Process ID.
    pub pid: u32,
    /// Process ID of its parent.
    pub parent: u32,
    /// The kernel's short name of the command (`comm`), at most 15 bytes.
    pub name: String,
    /// Argument list, lossily decoded; empty for kernel threads and when it can't be read.
    pub command: Vec<String>,
    /// Working directory; `None` when it can't be read.
    pub cwd: Option<String>,
    /// Effective user ID.
    pub uid: u32,
    /// Time since it started.
    pub age: Duration,
}

/// Reads a process's details. `None`: it is gone.
pub fn describe(pid: u32) -> Option<Process> {
    describe_at(since_boot(), pid)
}

/// The same, with the age that it has, or had, at a moment of [`since_boot`]: so many processes can be told by their ages which
/// of them came first, however long it takes to read them all.
pub fn describe_at(moment: Duration, pid: u32) -> Option<Process> {
    let stat = Stat::of(pid)?;
    let status = read_lossy(format!("/proc/{pid}/status"))?;
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_ascii_whitespace().nth(1)?;
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let command = String::from_utf8_lossy(&command);
    Some(Process {
        pid,
        parent: stat.parent()?,
        name: stat.name.clone(),
        command: command.trim_end_matches('\0').split('\0').filter(|_| !command.is_empty()).map(Into::into).collect(),
        cwd: fs::read_link(format!("/proc/{pid}/cwd")).ok().map(|path| path.to_string_lossy().into_owned()),
        uid: uid.parse().ok()?,
        age: age(moment, stat.start()?),
    })
}

/// Whether a thread or a process with this ID is there.
pub fn exists(id: u32) -> bool {
    let id = id.try_into().ok().and_then(Pid::from_raw);
    // Who may not be signalled is there.
    id.is_some_and(|id| test_kill_process(id) != Err(Errno::SRCH))
}

/// Whether a thread is in `accept(2)` on a descriptor, waiting for a connection. `true` where that can't be seen and the thread
/// is there.
pub fn accepts(id: u32, descriptor: RawFd) -> bool {
    let Ok(call) = fs::read_to_string(format!("/proc/{id}/syscall")) else { return exists(id) };
    // "running", if it does not wait; else the call's number, and its arguments.
    let mut words = call.split(' ');
    let number = words.next().and_then(|number| number.parse().ok());
    let first = words.next().and_then(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok());
    // The lower half of the register; descriptors are ints.
    [libc::SYS_accept, libc::SYS_accept4].map(Some).contains(&number)
        && first.map(|first| first as i32) == Some(descriptor)
}

/// Whether a process is stopped: by `SIGSTOP`, by Ctrl-Z in its terminal, or by a debugger.
pub fn is_stopped(pid: u32) -> bool {
    Stat::of(pid).is_some_and(|stat| matches!(stat.field(0), Some("T" | "t")))
}

/// Process IDs of those in the network namespace with this inode number, in ascending order. Processes that the caller
/// may not look into are left out: they can't be in a namespace of the caller's own user.
pub fn in_network(network_inode: u64) -> Vec<u32> {
    let mut found: Vec<u32> = all().filter(|&pid| network_of(pid) == Some(network_inode)).collect();
    found.sort_unstable();
    found
}

/// The same for every network namespace that has processes, by inode number, in one pass over the process table.
pub fn by_network() -> HashMap<u64, Vec<u32>> {
    let mut found: HashMap<u64, Vec<u32>> = HashMap::new();
    for pid in all() {
        if let Some(network) = network_of(pid) {
            found.entry(network).or_default().push(pid);
        }
    }
    found.values_mut().for_each(|pids| pids.sort_unstable());
    found
}

/// Inode number of the caller's own network namespace.
///
/// # Panics
/// Without a `/proc`.
pub fn own_network() -> u64 {
    parse_link(&fs::read_link("/proc/thread-self/ns/net").expect("/proc is mounted").to_string_lossy(), "net:[")
        .expect("the kernel's own format")
}

/// Every process ID, in no particular order.
fn all() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// The network namespace of a process; `None` if it is gone, or a zombie, or hidden.
fn network_of(pid: u32) -> Option<u64> {
    namespace_of(pid, "net")
}

/// The inode number of a namespace of a process.
pub(crate) fn namespace_of(pid: u32, kind: &str) -> Option<u64> {
    let of = |process: &Path| fs::read_link(process.join("ns").join(kind));
    let process = PathBuf::from(format!("/proc/{pid}"));
    let link = match of(&process) {
        // Its first thread has ended; others may go on.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut threads = fs::read_dir(process.join("task")).ok()?.flatten();
            threads.find_map(|thread| of(&thread.path()).ok())?
        }
        link => link.ok()?,
    };
    parse_link(link.to_str()?.strip_prefix(kind)?, ":[")
}

/// Whether a process is in a user namespace, or in one that was made inside of it.
fn is_within_user_namespace(pid: u32, inode: u64) -> bool {
    let Ok(file) = fs::File::open(format!("/proc/{pid}/ns/user")) else { return false };
    let mut namespace = OwnedFd::from(file);
    while rustix::fs::fstat(&namespace).is_ok_and(|stat| stat.st_ino != inode) {
        // Above our own there is none that we may see.
        let Ok(parent) = sys::parent_namespace(namespace.as_fd()) else { return false };
        namespace = parent;
    }
    true
}

/// The process of a thread.
pub(crate) fn thread_group(thread: u32) -> Option<u32> {
    let status = read_lossy(format!("/proc/{thread}/status"))?;
    status.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()
}

/// What the kernel tells of a process in `/proc/PID/stat`.
struct Stat {
    name: String,
    /// Everything behind it.
    fields: String,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        Self::parse(&read_lossy(format!("/proc/{pid}/stat"))?)
    }

    /// The name stands in parentheses and may contain any of them itself.
    fn parse(text: &str) -> Option<Self> {
        let (head, fields) = text.rsplit_once(')')?;
        Some(Self { name: head.split_once('(')?.1.to_owned(), fields: fields.to_owned() })
    }

    /// What follows the name: state, parent, …
    fn field(&self, number: usize) -> Option<&str> {
        self.fields.split_ascii_whitespace().nth(number)
    }

    /// Whether it has ended, with all its threads, and only its parent has yet to ask how.
    fn is_dead(&self) -> bool {
        let threads = self.field(17).and_then(|number| number.parse().ok()).unwrap_or(0);
        matches!(self.field(0), Some("Z" | "X")) && threads <= 1
    }

    fn parent(&self) -> Option<u32> {
        self.field(1)?.parse().ok()
    }

    /// When it started, in clock ticks since boot.
    fn start(&self) -> Option<u64> {
        self.field(19)?.parse().ok()
    }
}

/// Reads a file in `/proc` in which a process's name stands: that is any bytes, or a UTF-8 name cut within a character.
pub(crate) fn read_lossy(path: impl AsRef<Path>) -> Option<String> {
    Some(String::from_utf8_lossy(&fs::read(path).ok()?).into_owned())
}

/// The number in a link such as `net:[4026531840]`.
fn parse_link(link: &str, prefix: &str) -> Option<u64> {
    link.strip_prefix(prefix)?.strip_suffix(']')?.parse().ok()
}

/// How long ago something had started at a moment, given in clock ticks since boot. `/proc` counts 100 of them a second
/// everywhere.
fn age(moment: Duration, start: u64) -> Duration {
    moment.saturating_sub(Duration::from_millis(start.saturating_mul(10)))
}

/// How long the machine has been up.
pub fn since_boot() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(now.tv_sec.try_into().unwrap_or(0), now.tv_nsec.try_into().unwrap_or(0))
}

/// Whether an error says that we may not look.
fn is_denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

#[cfg(test)]
mod tests;
