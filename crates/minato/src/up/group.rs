//! A process group for one program and what it starts, led by nobody that runs.
//!
//! Programs are in groups of their own so that the terminal's Ctrl-C does not reach them and a signal reaches all of a
//! program. But the leader of a group may not call `setsid`, as postfix's `master` does even in the foreground. So the
//! leader is a process that has ended at once, and whose number is kept by not asking for its status.

use std::io;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

/// What the leader is started with: it ends before anything else is done.
pub(crate) const LEADER: &str = "__group";

/// A process group, which programs may join for as long as this lives; with it they end.
#[derive(Debug)]
pub(super) struct Group {
    leader: Child,
}

impl Group {
    /// Makes one.
    pub(super) fn new() -> io::Result<Group> {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new("/proc/self/exe");
        command.arg(LEADER).process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Group { leader: command.spawn()? })
    }

    /// Its number.
    pub(super) fn number(&self) -> i32 {
        i32::try_from(self.leader.id()).unwrap_or_default()
    }

    /// Signals everybody in it.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(group) = Pid::from_raw(self.number()) {
            // Who has ended needs no signal.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        // It has ended long ago, or does so just now.
        let _ = self.leader.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;

    use super::*;

    /// In a test `/proc/self/exe` is the test program, which takes the word for a filter that selects nothing, and ends.
    #[test]
    fn a_member_may_lead_a_session_and_a_signal_reaches_the_others() {
        let group = Group::new().expect("a group");
        let join = |program: &str, arguments: &[&str]| {
            Command::new(program)
                .args(arguments)
                .process_group(group.number())
                .stdin(Stdio::null())
                .spawn()
                .expect(program)
        };
        let mut waits = join("sleep", &["1000"]);
        let mut leads = join("python3", &["-c", "import os; os.setsid()"]);
        assert!(leads.wait().expect("its end").success(), "it could not become the leader of a session");
        group.signal(Signal::KILL);
        assert!(!waits.wait().expect("its end").success());
    }
}
