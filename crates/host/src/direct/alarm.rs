//! Calls that must not wait on a descriptor whose flags another process may change at any time.

use std::{io, mem::MaybeUninit, ptr, time::Duration};

/// How long such a call may wait, and how often it is woken in case that the first time it had not begun.
const PATIENCE: Duration = Duration::from_millis(1);

/// What does not happen by default, and nobody else in this process listens to.
const SIGNAL: libc::c_int = libc::SIGURG;

/// Wakes the thread that has made it out of system calls.
#[derive(Debug)]
pub(super) struct Alarm(usize);

impl Alarm {
    /// For the calling thread.
    pub(super) fn new() -> io::Result<Self> {
        listen()?;
        // SAFETY: all bytes zero is a value of this structure of integers and a pointer that this kind does not use.
        let mut event: libc::sigevent = unsafe { MaybeUninit::zeroed().assume_init() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = SIGNAL;
        event.sigev_notify_thread_id = rustix::thread::gettid().as_raw_nonzero().get();
        let mut timer: libc::timer_t = ptr::null_mut();
        // SAFETY: both pointers are to structures as the call wants them, which live until it returns.
        let result = unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer) };
        if result == 0 { Ok(Self(timer as usize)) } else { Err(io::Error::last_os_error()) }
    }

    /// Makes a call that fails with `EINTR` where it would wait for long.
    pub(super) fn during<T>(&self, call: impl FnOnce() -> T) -> T {
        self.set(PATIENCE);
        let result = call();
        self.set(Duration::ZERO);
        result
    }

    fn set(&self, every: Duration) {
        let every = libc::timespec { tv_sec: 0, tv_nsec: every.subsec_nanos().into() };
        let value = libc::itimerspec { it_interval: every, it_value: every };
        // SAFETY: the timer lives as long as `self`; the pointer is to a structure that lives until the call returns.
        unsafe { libc::timer_settime(self.0 as libc::timer_t, 0, &raw const value, ptr::null_mut()) };
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // SAFETY: it was made by `new`, and is not used again.
        unsafe { libc::timer_delete(self.0 as libc::timer_t) };
    }
}

/// Lets the signal interrupt this process's calls, and this thread get it.
fn listen() -> io::Result<()> {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: all bytes zero is a value of this structure. The handler does nothing. Calls are not restarted after it.
    let result = unsafe {
        let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
        action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
        libc::sigaction(SIGNAL, &raw const action, ptr::null_mut())
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the set is initialised by `sigemptyset`, and lives until the calls return.
    unsafe {
        let mut signals = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(signals.as_mut_ptr());
        libc::sigaddset(signals.as_mut_ptr(), SIGNAL);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, signals.as_ptr(), ptr::null_mut());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, time::Instant};

    use super::*;

    #[test]
    fn a_call_that_would_wait_comes_back() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let alarm = Alarm::new().unwrap();
        for _ in 0..20 {
            let error = alarm.during(|| rustix::net::accept(&listener)).unwrap_err();
            assert_eq!(error, rustix::io::Errno::INTR);
        }
        // Afterwards nothing wakes anybody.
        let start = Instant::now();
        let pause = Duration::from_millis(30);
        rustix::event::poll(&mut [], Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 30_000_000 })).unwrap();
        assert!(start.elapsed() >= pause);
    }
}
