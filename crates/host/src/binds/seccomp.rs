//! The filter and its notifications: `seccomp(2)`, `seccomp_unotify(2)`.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

/// `AUDIT_ARCH_…` of the processors for which this is written.
pub(super) const ARCHITECTURE: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xc000_003e)
} else if cfg!(target_arch = "aarch64") {
    Some(0xc000_00b7)
} else if cfg!(target_arch = "riscv64") {
    Some(0xc000_00f3)
} else {
    None
};

/// Where `struct seccomp_data` has the number of the call, and the architecture.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;

/// Installs the filter for this thread and what it starts, and gives its listener. Async-signal-safe.
pub(super) fn install() -> io::Result<OwnedFd> {
    let architecture = ARCHITECTURE.ok_or(io::ErrorKind::Unsupported)?;
    let load = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    let equal = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    let result = (libc::BPF_RET | libc::BPF_K) as u16;
    // The kernel remembers for which calls this always allows, and does not run it for them.
    let filter = [
        libc::sock_filter { code: load, jt: 0, jf: 0, k: ARCH },
        libc::sock_filter { code: equal, jt: 0, jf: 3, k: architecture },
        libc::sock_filter { code: load, jt: 0, jf: 0, k: NUMBER },
        libc::sock_filter { code: equal, jt: 0, jf: 1, k: libc::SYS_bind as u32 },
        libc::sock_filter { code: result, jt: 0, jf: 0, k: libc::SECCOMP_RET_USER_NOTIF },
        libc::sock_filter { code: result, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW },
    ];
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
pub(super) fn wake_at_once(listener: BorrowedFd<'_>) {
    // SAFETY: the argument is a number.
    unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS, SYNC_WAKE_UP) };
}

/// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP`.
const SYNC_WAKE_UP: u64 = 1;

/// A call that waits for its answer.
pub(super) struct Notification(libc::seccomp_notif);

impl Notification {
    /// Takes the next one. `NotFound`: it was there, and its thread has died.
    pub(super) fn receive(listener: BorrowedFd<'_>) -> io::Result<Self> {
        // SAFETY: all bytes zero is a value of this structure of integers; the kernel wants nothing else.
        let mut notification: libc::seccomp_notif = unsafe { MaybeUninit::zeroed().assume_init() };
        // SAFETY: the pointer is to a structure as this request wants it, which lives until the call returns.
        let result =
            unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut notification) };
        if result == 0 { Ok(Self(notification)) } else { Err(io::Error::last_os_error()) }
    }

    /// The thread that calls; 0 if it has no number here.
    pub(super) fn thread(&self) -> u32 {
        self.0.pid
    }

    /// An argument of the call.
    pub(super) fn argument(&self, index: usize) -> u64 {
        self.0.data.args[index]
    }

    /// Whether the call still waits.
    pub(super) fn is_valid(&self, listener: BorrowedFd<'_>) -> bool {
        let id: u64 = self.0.id;
        // SAFETY: the pointer is to a number as this request wants it, which lives until the call returns.
        let result = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const id) };
        result == 0
    }

    /// Lets the kernel do what was called for.
    pub(super) fn go_on(&self, listener: BorrowedFd<'_>) {
        self.send(listener, 0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32);
    }

    /// Gives the call this result.
    pub(super) fn answer(&self, listener: BorrowedFd<'_>, result: &io::Result<()>) {
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
pub(super) fn bind(socket: BorrowedFd<'_>, address: &[u8]) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `address`, which the kernel checks and only reads.
    let result = unsafe { libc::bind(socket.as_raw_fd(), address.as_ptr().cast(), address.len() as libc::socklen_t) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
