//! The few system calls that rustix does not wrap.

use std::{
    ffi::c_int,
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

/// Sets an integer socket option.
pub(crate) fn set_option(socket: BorrowedFd<'_>, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `value`, which lives until the call returns.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes the kernel drop what a classic BPF program returns 0 for, before it reaches the socket.
pub(crate) fn attach_filter(socket: BorrowedFd<'_>, program: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: program.len().try_into().map_err(|_| io::ErrorKind::InvalidInput)?,
        // The kernel only reads it.
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the pointer and the length describe `program`, whose own pointer and length describe a slice that outlives
    // the call. The kernel checks and copies the program.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of_val(&program) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Ignores a signal in this process, and in what it executes.
pub(crate) fn ignore_signal(signal: c_int) {
    // SAFETY: SIG_IGN is no handler: no code of ours runs in signal context. A wrong number is refused with EINVAL.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// `close_range(2)` from `first` on.
pub(crate) fn close_from(first: c_int) -> io::Result<()> {
    // SAFETY: passes numbers only. That nobody uses these descriptors any more is what our caller promises.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, c_int::MAX, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `unshare(2)`. Never with `CLONE_FILES`.
pub(crate) fn unshare(flags: rustix::thread::UnshareFlags) -> io::Result<()> {
    debug_assert!(!flags.contains(rustix::thread::UnshareFlags::FILES));
    // SAFETY: only CLONE_FILES makes this unsafe, and no caller passes it.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}
