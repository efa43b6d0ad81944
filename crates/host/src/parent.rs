//! A child that must not outlive whoever started it.

use std::{io, os::unix::process::CommandExt, process::Command};

use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};

/// What becomes of a program whose parent is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orphan {
    /// It is asked to end, as by SIGTERM: for those that something else ends if they don't.
    Asked,
    /// It is killed.
    Killed,
}

/// Makes the kernel end the program when the thread that spawns it ends, `kill -9` included. Call it after
/// [`Enter::apply`](crate::enter::Enter::apply): joining a user namespace would forget it. Programs that gain rights
/// when they are executed (set-user-ID) are exempt: for them the host's end is the only guarantee.
pub fn end_with_parent(command: &mut Command, orphan: Orphan) {
    let signal = match orphan {
        Orphan::Asked => Signal::TERM,
        Orphan::Killed => Signal::KILL,
    };
    let parent = getpid();
    // SAFETY: `arm` runs in the child of a possibly threaded process: it makes system calls only, and neither
    // allocates nor takes a lock.
    unsafe { command.pre_exec(move || arm(parent, signal)) };
}

fn arm(parent: Pid, signal: Signal) -> io::Result<()> {
    set_parent_process_death_signal(Some(signal))?;
    // The parent may have died before; then nobody waits for this child.
    if getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::Interrupted.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Read, os::unix::process::ExitStatusExt, process::Stdio};

    #[test]
    fn a_child_ends_with_the_thread_that_started_it() {
        for (orphan, signal) in [(Orphan::Asked, Signal::TERM), (Orphan::Killed, Signal::KILL)] {
            let start = move || {
                let mut command = Command::new("sleep");
                command.arg("1000").stdout(Stdio::piped());
                end_with_parent(&mut command, orphan);
                command.spawn().expect("sleep")
            };
            let mut child = std::thread::spawn(start).join().expect("thread");
            let mut output = String::new();
            child.stdout.take().expect("pipe").read_to_string(&mut output).expect("end of output");
            assert_eq!(child.wait().expect("wait").signal(), Some(signal.as_raw()));
        }
    }
}
