//! Signals as events, with their origin: a program in the foreground gets the terminal's signals itself, so its
//! supervisor passes on only those that somebody sent.

use std::{io, mem::MaybeUninit, os::fd::AsRawFd, os::fd::OwnedFd};

use rustix::pipe::{PipeFlags, pipe_with};

/// A signal that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    /// Its number.
    pub number: i32,
    /// Whether the kernel itself sent it, which is how a terminal's keys arrive (`SI_KERNEL`).
    pub from_kernel: bool,
}

/// Bytes that one signal takes in the pipe of [`catch`].
pub const RECORD: usize = 2;

impl Signal {
    /// Decodes one record.
    pub fn decode(record: [u8; RECORD]) -> Signal {
        Signal { number: i32::from(record[0]), from_kernel: record[1] != 0 }
    }
}

/// Catches signals for the rest of the process's life. Each arrives as a record of [`RECORD`] bytes in the pipe whose
/// non-blocking reading end is returned. Signals that were ignored when the process started stay ignored, as `nohup` wants.
///
/// # Errors
/// A number is not one of a signal that can be caught, or no pipe is to be had.
pub fn catch(numbers: &[i32]) -> io::Result<OwnedFd> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    for &number in numbers {
        if is_ignored(number)? {
            continue;
        }
        let writer = writer.try_clone()?;
        let deliver = move |info: &libc::siginfo_t| {
            let record = [number as u8, u8::from(info.si_code == libc::SI_KERNEL)];
            // SAFETY: write(2) and errno are async-signal-safe; the descriptor is owned by this closure, which lives
            // as long as the process. A full pipe drops the record: the reader has plenty to read already.
            unsafe {
                let errno = libc::__errno_location();
                let before = *errno;
                libc::write(writer.as_raw_fd(), record.as_ptr().cast(), RECORD);
                *errno = before;
            }
        };
        // SAFETY: the action does only what is async-signal-safe, see above.
        unsafe { signal_hook_registry::register_sigaction(number, deliver) }?;
    }
    Ok(reader)
}

fn is_ignored(number: i32) -> io::Result<bool> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null action only asks; the answer fits into `action`.
    if unsafe { libc::sigaction(number, std::ptr::null(), action.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded and has filled `action`.
    Ok(unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sent_signal_is_told_from_the_kernels() {
        let reader = catch(&[libc::SIGUSR2]).expect("catch");
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::USR2).expect("kill");
        let mut record = [0; RECORD];
        let mut polled = [rustix::event::PollFd::new(&reader, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut polled, None).expect("poll");
        assert_eq!(rustix::io::read(&reader, &mut record).expect("read"), RECORD);
        assert_eq!(Signal::decode(record), Signal { number: libc::SIGUSR2, from_kernel: false });
    }
}
