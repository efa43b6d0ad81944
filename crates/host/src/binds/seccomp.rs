//! The filter and its notifications: `seccomp(2)`, `seccomp_unotify(2)`.

use std::{
    ffi::c_int,
    io,
    mem::MaybeUninit,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

/// `AUDIT_ARCH_…` of the processors for which this is written.
pub(crate) const ARCHITECTURE: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xc000_003e)
} else if cfg!(target_arch = "aarch64") {
    Some(0xc000_00b7)
} else if cfg!(target_arch = "riscv64") {
    Some(0xc000_00f3)
} else {
    None
};

/// Where `struct seccomp_data` has the number of the call, the architecture, and the lower halves of the second and third
/// argument: all processors above have them first.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const SECOND: u32 = 24;
const THIRD: u32 = 32;

/// The calls that a filter asks about.
pub(super) const BINDS: &[libc::c_long] = &[libc::SYS_bind, libc::SYS_listen];
/// The same for programs whose connections are replaced; see [`crate::direct`].
pub(super) const BINDS_AND_CONNECTIONS: &[libc::c_long] = &[
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_accept4,
    libc::SYS_accept,
    libc::SYS_listen,
    libc::SYS_epoll_create1,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_create,
];

/// A filter that asks about `calls`, and about `setsockopt(2)` of `options`, which are level and name, and ordered. It lets
/// everything else pass. `None` for processors that are not known.
pub(super) fn filter(calls: &[libc::c_long], options: &[(c_int, c_int)]) -> Option<Vec<libc::sock_filter>> {
    let mut filter = vec![load(ARCH), unless_equal(ARCHITECTURE?, ALLOW), load(NUMBER)];
    filter.extend(calls.iter().map(|call| if_equal(*call as u32, ASK)));
    if !options.is_empty() {
        filter.extend([unless_equal(libc::SYS_setsockopt as u32, ALLOW), load(SECOND)]);
    }
    for of_level in options.chunk_by(|one, other| one.0 == other.0) {
        filter.push(unless_equal(of_level[0].0 as u32, of_level.len() as u8 + 2));
        filter.push(load(THIRD));
        filter.extend(of_level.iter().map(|(_, name)| if_equal(*name as u32, ASK)));
        filter.push(give(libc::SECCOMP_RET_ALLOW));
    }
    filter.extend([give(libc::SECCOMP_RET_ALLOW), give(libc::SECCOMP_RET_USER_NOTIF)]);
    let length = filter.len();
    for (index, statement) in filter.iter_mut().enumerate() {
        for way in [&mut statement.jt, &mut statement.jf] {
            match *way {
                ALLOW => *way = u8::try_from(length - 2 - index - 1).ok()?,
                ASK => *way = u8::try_from(length - 1 - index - 1).ok()?,
                _ => {}
            }
        }
    }
    Some(filter)
}

/// Jumps to the last statements but one and to the last one, as long as it is not known where they are.
const ALLOW: u8 = u8::MAX;
const ASK: u8 = u8::MAX - 1;

const fn load(offset: u32) -> libc::sock_filter {
    libc::sock_filter { code: (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, jt: 0, jf: 0, k: offset }
}

const fn if_equal(k: u32, jt: u8) -> libc::sock_filter {
    libc::sock_filter { code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16, jt, jf: 0, k }
}

const fn unless_equal(k: u32, jf: u8) -> libc::sock_filter {
    libc::sock_filter { jt: 0, jf, ..if_equal(k, 0) }
}

const fn give(k: u32) -> libc::sock_filter {
    libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k }
}

/// Installs a filter for this thread and what it starts, and gives its listener. Async-signal-safe.
pub(super) fn install(filter: &[libc::sock_filter]) -> io::Result<OwnedFd> {
    // The kernel remembers for which calls this always allows, and does not run it for them.
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        // The kernel only reads it.
        filter: filter.as_ptr().cast_mut(),
    };
    // Once a notification was received, signals do not interrupt the call any more: it would begin anew, and bind a
    // second time what is bound already.
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER
        | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
        | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    // SAFETY: the pointer is to `program`, whose own pointer and length describe `filter`; both live until the call
    // returns, and the kernel copies them.
    let listener =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    if listener < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(listener as i32) })
}

/// Makes the kernel run us at once, on the program's own processor, when it asks (Linux 6.6; without it we come when we
/// come). Until we have taken a notification, a signal may interrupt the call.
pub(crate) fn wake_at_once(listener: BorrowedFd<'_>) {
    // SAFETY: the argument is a number.
    unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS, SYNC_WAKE_UP) };
}

/// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP`.
const SYNC_WAKE_UP: u64 = 1;

/// A call that waits for its answer.
pub(crate) struct Notification(libc::seccomp_notif);

impl Notification {
    /// Takes the next one. `NotFound`: it was there, and its thread has died.
    pub(crate) fn receive(listener: BorrowedFd<'_>) -> io::Result<Self> {
        // SAFETY: all bytes zero is a value of this structure of integers; the kernel wants nothing else.
        let mut notification: libc::seccomp_notif = unsafe { MaybeUninit::zeroed().assume_init() };
        // SAFETY: the pointer is to a structure as this request wants it, which lives until the call returns.
        let result =
            unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut notification) };
        if result == 0 { Ok(Self(notification)) } else { Err(io::Error::last_os_error()) }
    }

    /// The thread that calls; 0 if it has no number here.
    pub(crate) fn thread(&self) -> u32 {
        self.0.pid
    }

    /// The number of the call.
    pub(crate) fn call(&self) -> libc::c_long {
        self.0.data.nr.into()
    }

    /// An argument of the call.
    pub(crate) fn argument(&self, index: usize) -> u64 {
        self.0.data.args[index]
    }

    /// Whether the call still waits.
    pub(crate) fn is_valid(&self, listener: BorrowedFd<'_>) -> bool {
        let id: u64 = self.0.id;
        // SAFETY: the pointer is to a number as this request wants it, which lives until the call returns.
        let result = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const id) };
        result == 0
    }

    /// Puts a descriptor in the place of one of the caller's. The file that it was goes away if nobody else has it.
    pub(crate) fn replace(
        &self,
        listener: BorrowedFd<'_>,
        place: RawFd,
        with: BorrowedFd<'_>,
        close_on_exec: bool,
    ) -> io::Result<()> {
        self.add(listener, libc::SECCOMP_ADDFD_FLAG_SETFD, place, with, close_on_exec)
    }

    /// Gives the call a new descriptor as its result. If that fails, as with `EMFILE`, it still waits.
    pub(crate) fn give(
        &self,
        listener: BorrowedFd<'_>,
        descriptor: BorrowedFd<'_>,
        close_on_exec: bool,
    ) -> io::Result<()> {
        self.add(listener, libc::SECCOMP_ADDFD_FLAG_SEND, 0, descriptor, close_on_exec)
    }

    fn add(
        &self,
        listener: BorrowedFd<'_>,
        flags: libc::c_ulong,
        place: RawFd,
        descriptor: BorrowedFd<'_>,
        close_on_exec: bool,
    ) -> io::Result<()> {
        let request = libc::seccomp_notif_addfd {
            id: self.0.id,
            flags: flags as u32,
            srcfd: descriptor.as_raw_fd() as u32,
            newfd: place as u32,
            newfd_flags: if close_on_exec { libc::O_CLOEXEC as u32 } else { 0 },
        };
        loop {
            // SAFETY: the pointer is to a structure as this request wants it, which lives until the call returns.
            let result =
                unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ADDFD, &raw const request) };
            if result >= 0 {
                return Ok(());
            }
            // A signal for us may come while the caller is about to take it.
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }

    /// Reads the caller's memory. `None` where it has none, or has ended.
    pub(crate) fn memory(&self, pointer: u64, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0u8; length];
        let local = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: length };
        let remote = libc::iovec { iov_base: pointer as *mut libc::c_void, iov_len: length };
        // SAFETY: `local` describes `bytes`, which the kernel fills; `remote` is an address of the other process, which it
        // checks.
        let read =
            unsafe { libc::process_vm_readv(self.thread() as i32, &raw const local, 1, &raw const remote, 1, 0) };
        (usize::try_from(read).ok()? == length).then_some(bytes)
    }

    /// Writes to the caller's memory. Fails where it has none that it could write to itself, or has ended.
    pub(crate) fn set_memory(&self, parts: [(u64, &[u8]); 2]) -> bool {
        let local =
            parts.map(|(_, bytes)| libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() });
        let remote =
            parts.map(|(pointer, bytes)| libc::iovec { iov_base: pointer as *mut libc::c_void, iov_len: bytes.len() });
        // SAFETY: `local` describes `parts`, which the kernel only reads; `remote` are addresses of the other process, which
        // it checks.
        let written =
            unsafe { libc::process_vm_writev(self.thread() as i32, local.as_ptr(), 2, remote.as_ptr(), 2, 0) };
        let wanted: usize = parts.iter().map(|(_, bytes)| bytes.len()).sum();
        usize::try_from(written).is_ok_and(|written| written == wanted)
    }

    /// Lets the kernel do what was called for.
    pub(crate) fn go_on(&self, listener: BorrowedFd<'_>) {
        self.send(listener, 0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32);
    }

    /// Gives the call this result.
    pub(crate) fn answer(&self, listener: BorrowedFd<'_>, result: &io::Result<()>) {
        let error = result.as_ref().err().map_or(0, |error| -error.raw_os_error().unwrap_or(libc::EIO));
        self.send(listener, error, 0);
    }

    fn send(&self, listener: BorrowedFd<'_>, error: i32, flags: u32) {
        let response = libc::seccomp_notif_resp { id: self.0.id, val: 0, error, flags };
        // SAFETY: the pointer is to a structure as this request wants it, which lives until the call returns. It fails only
        // when the thread has died meanwhile.
        unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw const response) };
    }
}

/// `bind(2)` with an address as a program has spelled it.
pub(crate) fn bind(socket: BorrowedFd<'_>, address: &[u8]) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `address`, which the kernel checks and only reads.
    let result = unsafe { libc::bind(socket.as_raw_fd(), address.as_ptr().cast(), address.len() as libc::socklen_t) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
