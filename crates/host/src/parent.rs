//! A child that must not outlive whoever started it.

use std::{io, os::unix::process::CommandExt, process::Command};

use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};

/// Makes the kernel send the program SIGTERM when the thread that spawns it ends, `kill -9` included. Call it after
/// [`Enter::apply`](crate::enter::Enter::apply): joining a user namespace would forget it. Programs that gain rights
/// when they are executed (set-user-ID) are exempt, and others may take their time or ignore it, so this is a convenience
/// and not a guarantee: the host's end is.
pub fn end_with_parent(command: &mut Command) {
    let parent = getpid();
    // SAFETY: `arm` runs in the child of a possibly threaded process: it makes system calls only, and neither
    // allocates nor takes a lock.
    unsafe { command.pre_exec(move || arm(parent)) };
}

fn arm(parent: Pid) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::TERM))?;
    // The parent may have died before; then nobody waits for this child.
    if getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::Interrupted.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_child_is_asked_to_end_with_the_thread_that_started_it() {
        let mut child = std::thread::spawn(|| {
            let mut command = Command::new("sleep");
            command.arg("1000");
            end_with_parent(&mut command);
            command.stdout(std::process::Stdio::piped()).spawn().expect("sleep")
        })
        .join()
        .expect("thread");
        let mut output = String::new();
        child.stdout.take().expect("pipe").read_to_string(&mut output).expect("end of output");
        assert!(!child.wait().expect("wait").success());
    }
}
