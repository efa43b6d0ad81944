//! Which processes hold which sockets, from `/proc/PID/fd`.

use std::{collections::HashMap, io, mem::MaybeUninit};

use rustix::{
    fs::{CWD, Mode, OFlags, RawDir, openat, readlinkat_raw},
    io::Errno,
};

use super::{all, is_denied};

/// Which processes hold which sockets.
#[derive(Clone, Debug, Default)]
pub struct SocketOwners {
    /// Socket inode → process IDs in ascending order. The inode numbers are the kernel's own.
    owners: HashMap<u64, Vec<u32>>,
    /// Some process may not be looked into.
    hidden: bool,
}

/// Who holds a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner<'a> {
    /// These processes (never empty).
    Processes(&'a [u32]),
    /// No process that was visible, but some processes may not be looked into.
    NoPermission,
    /// No process: the kernel itself, a closed socket that lingers, or one that vanished while we looked.
    Nobody,
}

impl SocketOwners {
    /// Looks through the file descriptors of `pids`.
    pub fn of(pids: &[u32]) -> Self {
        let mut owners = Self::default();
        for &pid in pids {
            owners.look_into(pid);
        }
        owners
    }

    /// Looks through the file descriptors of every process.
    pub fn of_machine() -> Self {
        let mut pids: Vec<u32> = all().collect();
        pids.sort_unstable();
        Self::of(&pids)
    }

    /// Who holds the socket with this inode number.
    pub fn owner(&self, inode: u64) -> Owner<'_> {
        match self.owners.get(&inode) {
            Some(pids) => Owner::Processes(pids),
            // 0: no file refers to the socket, so no process does.
            None if self.hidden && inode != 0 => Owner::NoPermission,
            None => Owner::Nobody,
        }
    }

    fn look_into(&mut self, pid: u32) {
        match self.try_look_into(pid) {
            Err(error) if is_denied(&error) => self.hidden = true,
            // It has ended.
            Ok(()) | Err(_) => {}
        }
    }

    fn try_look_into(&mut self, pid: u32) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(CWD, format!("/proc/{pid}/fd"), flags, Mode::empty())?;
        let mut entries = [MaybeUninit::uninit(); 8192];
        let mut entries = RawDir::new(&directory, &mut entries);
        // Longer targets are no sockets.
        let mut target = [0u8; 40];
        while let Some(entry) = entries.next() {
            match readlinkat_raw(&directory, entry?.file_name(), &mut target[..]) {
                Ok(length) => {
                    if let Some(inode) = socket_inode(&target[..length]) {
                        let pids = self.owners.entry(inode).or_default();
                        if pids.last() != Some(&pid) {
                            pids.push(pid);
                        }
                    }
                }
                // Directories are readable where links are not.
                Err(error @ (Errno::ACCESS | Errno::PERM)) => return Err(error.into()),
                Err(_) => {}
            }
        }
        Ok(())
    }
}

/// The number in `socket:[123]`.
fn socket_inode(target: &[u8]) -> Option<u64> {
    std::str::from_utf8(target.strip_prefix(b"socket:[")?.strip_suffix(b"]")?).ok()?.parse().ok()
}
