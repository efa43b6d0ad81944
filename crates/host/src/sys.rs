//! The few system calls that rustix does not wrap.

use std::{
    ffi::c_int,
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use rustix::{io::Errno, net::SocketAddrAny};

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

/// Sets an option of any kind.
pub(crate) fn set_bytes(socket: BorrowedFd<'_>, level: c_int, name: c_int, value: &[u8]) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `value`, which the kernel reads.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, value.as_ptr().cast(), value.len() as libc::socklen_t)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reads an option of any kind, and tells its length.
pub(crate) fn get_option(socket: BorrowedFd<'_>, level: c_int, name: c_int, value: &mut [u8]) -> io::Result<usize> {
    let mut length = value.len() as libc::socklen_t;
    // SAFETY: the pointer and the length describe `value`, of which the kernel writes no more than that.
    let result =
        unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, value.as_mut_ptr().cast(), &raw mut length) };
    if result == 0 { Ok(length as usize) } else { Err(io::Error::last_os_error()) }
}

/// A socket's address as the kernel spells it.
pub(crate) fn address_bytes(address: &SocketAddrAny) -> &[u8] {
    // SAFETY: the pointer is to an initialised address of just that length, which lives as long as `address`.
    unsafe { std::slice::from_raw_parts(address.as_ptr().cast(), address.addr_len() as usize) }
}

/// A number for the network namespace that a socket is of (Linux 5.14).
pub(crate) fn network_of(socket: BorrowedFd<'_>) -> io::Result<u64> {
    /// `asm-generic/socket.h`.
    const SO_NETNS_COOKIE: c_int = 71;
    let mut cookie = [0; 8];
    get_option(socket, libc::SOL_SOCKET, SO_NETNS_COOKIE, &mut cookie)?;
    Ok(u64::from_ne_bytes(cookie))
}

/// How many descriptors a thread's process may have, as far as we may know.
pub(crate) fn descriptor_limit(thread: u32) -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: nothing is set. The other pointer is to a structure as the call wants it, which lives until it returns.
    let result = unsafe {
        libc::prlimit(libc::pid_t::try_from(thread).ok()?, libc::RLIMIT_NOFILE, std::ptr::null(), &raw mut limit)
    };
    (result == 0).then_some(limit.rlim_cur)
}

/// Whether an epoll instance of a process watches a descriptor of that process (`kcmp(2)`).
pub(crate) fn epoll_watches(process: u32, epoll: RawFd, descriptor: RawFd) -> Result<bool, Errno> {
    /// `KCMP_EPOLL_TFD`.
    const EPOLL_TARGET: c_int = 7;
    // Where it is watched under a number that has been another file's, there are several.
    for offset in 0u32.. {
        // `struct kcmp_epoll_slot`.
        let slot = [epoll as u32, descriptor as u32, offset];
        // SAFETY: the pointer is to a structure as this comparison wants it, which lives until the call returns; the rest
        // are numbers.
        let order = unsafe { libc::syscall(libc::SYS_kcmp, process, process, EPOLL_TARGET, descriptor, slot.as_ptr()) };
        match order {
            0 => return Ok(true),
            1.. => {}
            _ => match io::Error::last_os_error().raw_os_error() {
                Some(libc::ENOENT) => return Ok(false),
                error => return Err(Errno::from_raw_os_error(error.unwrap_or(libc::EIO))),
            },
        }
    }
    Ok(false)
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

/// The user namespace in which one was made (`ioctl_ns(2)`); `EPERM` where that lies outside of the caller's own.
pub(crate) fn parent_namespace(namespace: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    /// `linux/nsfs.h`.
    const NS_GET_PARENT: libc::Ioctl = 0xb702;
    // SAFETY: the request takes no argument.
    let result = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_PARENT) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just opened it for us, close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

/// `unshare(2)`. Never with `CLONE_FILES`.
pub(crate) fn unshare(flags: rustix::thread::UnshareFlags) -> io::Result<()> {
    debug_assert!(!flags.contains(rustix::thread::UnshareFlags::FILES));
    // SAFETY: only CLONE_FILES makes this unsafe, and no caller passes it.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}
