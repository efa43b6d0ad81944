//! What is known about programs from one connection to the next: handles on their processes, and their epoll instances.

use std::{
    collections::HashMap,
    fs::{self, File},
    os::fd::{OwnedFd, RawFd},
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{ForeignRawFd, Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open},
};

use crate::process::thread_group;

/// How many threads are known before all are forgotten.
const MOST: usize = 256;
/// How many descriptors' files stay open before all are closed. Programs use the same few numbers again and again.
const MOST_DESCRIPTORS: usize = 64;
/// So long after an epoll instance was to be made it may not be there yet.
const SETTLING: Duration = Duration::from_secs(1);

/// A descriptor of a program, as it was when a call used it.
#[derive(Debug)]
pub(super) struct Held {
    /// Our copy.
    pub(super) socket: OwnedFd,
    pub(super) inode: u64,
    pub(super) descriptor: RawFd,
    pub(super) process: u32,
    pub(super) close_on_exec: bool,
    /// `O_ASYNC`: somebody gets a signal when it is ready.
    pub(super) raises_signals: bool,
}

#[derive(Debug, Default)]
pub(super) struct Programs {
    /// By thread: its process, and a handle on that. A number may be another thread's by now.
    threads: HashMap<u32, (u32, OwnedFd)>,
    /// `/proc/THREAD/fdinfo/DESCRIPTOR`. It tells of whatever has the number now, and of no other thread.
    descriptors: HashMap<(u32, RawFd), File>,
    /// By process: descriptors of epoll instances. They may have been closed.
    epolls: HashMap<u32, Vec<RawFd>>,
    /// By process: when one was made last.
    made: HashMap<u32, Instant>,
}

impl Programs {
    /// Copies a descriptor of a thread that waits.
    pub(super) fn copy(&mut self, thread: u32, descriptor: RawFd) -> Option<Held> {
        if let Some(held) = self.try_copy(thread, descriptor) {
            return Some(held);
        }
        // The number is another thread's by now.
        self.threads.remove(&thread)?;
        self.try_copy(thread, descriptor)
    }

    fn try_copy(&mut self, thread: u32, descriptor: RawFd) -> Option<Held> {
        let (process, handle) = self.known(thread)?;
        let process = *process;
        let socket = pidfd_getfd(handle, descriptor as ForeignRawFd, PidfdGetfdFlags::empty()).ok()?;
        // A thread may have descriptors of its own; and the process may be another one than that of this thread.
        let info = self.info(thread, descriptor)?;
        if rustix::fs::fstat(&socket).ok()?.st_ino != info.inode {
            return None;
        }
        Some(Held {
            socket,
            inode: info.inode,
            descriptor,
            process,
            close_on_exec: info.flags & libc::O_CLOEXEC != 0,
            raises_signals: info.flags & libc::O_ASYNC != 0,
        })
    }

    /// What a descriptor of a thread is at this moment.
    pub(super) fn info(&mut self, thread: u32, descriptor: RawFd) -> Option<Info> {
        let key = (thread, descriptor);
        if let Some(info) = self.descriptors.get(&key).and_then(Info::read) {
            return Some(info);
        }
        if self.descriptors.len() >= MOST_DESCRIPTORS {
            self.descriptors.clear();
        }
        let file = File::open(format!("/proc/{thread}/fdinfo/{descriptor}")).ok()?;
        let info = Info::read(&file)?;
        self.descriptors.insert(key, file);
        Some(info)
    }

    /// Whether an epoll instance of the process watches the descriptor.
    pub(super) fn watches(&mut self, process: u32, descriptor: RawFd) -> bool {
        let settled = self.made.get(&process).is_none_or(|made| made.elapsed() > SETTLING);
        if settled
            && let Some(known) = self.epolls.get(&process)
            && let Ok(watched) = any_watches(process, known, descriptor)
        {
            return watched;
        }
        let Some(found) = epolls(process) else { return true };
        // One that can't be asked may watch it.
        let watched = any_watches(process, &found, descriptor).unwrap_or(true);
        self.epolls.insert(process, found);
        watched
    }

    /// A thread is about to make an epoll instance.
    pub(super) fn forget_epolls(&mut self, thread: u32) {
        let known = self.threads.get(&thread).map(|(process, _)| *process);
        if let Some(process) = known.or_else(|| thread_group(thread)) {
            self.made.insert(process, Instant::now());
        }
        self.made.retain(|_, made| made.elapsed() <= SETTLING);
    }

    fn known(&mut self, thread: u32) -> Option<&(u32, OwnedFd)> {
        if !self.threads.contains_key(&thread) {
            if self.threads.len() >= MOST {
                self.threads.clear();
                self.epolls.clear();
            }
            let process = thread_group(thread)?;
            let handle = pidfd_open(Pid::from_raw(process.try_into().ok()?)?, PidfdFlags::empty()).ok()?;
            self.threads.insert(thread, (process, handle));
        }
        self.threads.get(&thread)
    }
}

/// Whether a thread can have another descriptor. `false`: it may not, as some may be above its limit. Before Linux 6.2, which
/// counts them, `true`.
pub(super) fn has_room(thread: u32) -> bool {
    let count = rustix::fs::stat(format!("/proc/{thread}/fd")).map_or(0, |directory| directory.st_size);
    let count = u64::try_from(count).unwrap_or(0);
    crate::sys::descriptor_limit(thread).is_none_or(|limit| count < limit)
}

/// What `/proc/THREAD/fdinfo/DESCRIPTOR` tells.
pub(super) struct Info {
    pub(super) inode: u64,
    /// Of file and descriptor.
    pub(super) flags: i32,
}

impl Info {
    /// `None` if the thread is gone, or has no such descriptor.
    fn read(file: &File) -> Option<Self> {
        let mut space = [0; 512];
        let length = rustix::io::pread(file, &mut space, 0).ok()?;
        let text = str::from_utf8(&space[..length]).ok()?;
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        Some(Self { inode: field("ino:")?.parse().ok()?, flags: i32::from_str_radix(field("flags:")?, 8).ok()? })
    }
}

/// The epoll instances among the descriptors of a process.
fn epolls(process: u32) -> Option<Vec<RawFd>> {
    let entries = fs::read_dir(format!("/proc/{process}/fd")).ok()?.flatten();
    let is_epoll = |entry: &fs::DirEntry| {
        fs::read_link(entry.path()).is_ok_and(|link| link.as_os_str() == "anon_inode:[eventpoll]")
    };
    Some(entries.filter(is_epoll).filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

fn any_watches(process: u32, epolls: &[RawFd], descriptor: RawFd) -> Result<bool, Errno> {
    for epoll in epolls {
        if crate::sys::epoll_watches(process, *epoll, descriptor)? {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::fd::AsRawFd,
        process::{Command, Stdio},
    };

    use rustix::{
        event::epoll,
        process::{Resource, Rlimit},
    };

    use super::*;

    #[test]
    fn what_an_epoll_instance_watches_is_known() {
        let mut programs = Programs::default();
        let own = std::process::id();
        let [watched, other] = [0; 2].map(|_| rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap());
        assert!(!programs.watches(own, watched.as_raw_fd()));
        programs.forget_epolls(own);
        let instance = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        assert!(!programs.watches(own, watched.as_raw_fd()));
        epoll::add(&instance, &watched, epoll::EventData::new_u64(0), epoll::EventFlags::IN).unwrap();
        assert!(programs.watches(own, watched.as_raw_fd()));
        assert!(!programs.watches(own, other.as_raw_fd()));
        // Its number is another file's now; the old file lives on in the copy, and is watched still.
        let copy = rustix::io::dup(&watched).unwrap();
        let number = watched.as_raw_fd();
        drop(watched);
        let again = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
        if again.as_raw_fd() == number {
            assert!(!programs.watches(own, again.as_raw_fd()));
        }
        drop((copy, instance));
        assert!(!programs.watches(own, other.as_raw_fd()));
    }

    #[test]
    fn whoever_has_all_its_descriptors_has_no_room() {
        let mut program = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // It has begun, and opens nothing more.
        program.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        program.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let id = program.id();
        let limit = |current: usize| {
            let limit = Rlimit { current: Some(current as u64), ..rustix::process::getrlimit(Resource::Nofile) };
            rustix::process::prlimit(Some(Pid::from_child(&program)), Resource::Nofile, limit).unwrap();
        };
        let count = fs::read_dir(format!("/proc/{id}/fd")).unwrap().count();
        for (current, expected) in [(count + 1, true), (count, false), (count - 1, false), (count + 1, true)] {
            limit(current);
            assert_eq!(has_room(id), expected, "{current}");
        }
        drop(program.stdin.take());
        program.wait().unwrap();
    }

    #[test]
    fn a_copy_tells_the_flags_of_the_descriptor() {
        let mut programs = Programs::default();
        let [first, second] = [true, false].map(|close_on_exec| {
            let flags =
                if close_on_exec { rustix::net::SocketFlags::CLOEXEC } else { rustix::net::SocketFlags::empty() };
            let socket = rustix::net::socket_with(
                rustix::net::AddressFamily::INET,
                rustix::net::SocketType::STREAM,
                flags,
                None,
            );
            let socket = socket.unwrap();
            programs.copy(std::process::id(), socket.as_raw_fd()).unwrap().close_on_exec
        });
        assert_eq!((first, second), (true, false));
        assert!(programs.copy(std::process::id(), 1_000_000).is_none());
    }
}
