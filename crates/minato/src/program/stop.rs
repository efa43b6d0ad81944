//! Programs that stop: the shell in front of the terminal waits for us, and must see us stop too to take it back.
//!
//! Ctrl-Z stops both of us, as one group. A program that stops itself, as a shell does by `suspend`, stops alone.

use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, getpgid, getpgrp, getpid, kill_process, waitid};
use rustix::termios::tcgetpgrp;
use tokio::process::Child;

use super::pid;

/// A group is continued process by process: how long it is waited for the program's turn when ours has come.
const TURN: Duration = Duration::from_millis(20);

/// Stops this process if the program has stopped, nobody else is in front of the terminal, and a shell can continue us.
/// Returns when it is to go on, which the program then learns by SIGCONT.
pub(crate) async fn stop_along(child: &Child) {
    let Some(program) = pid(child) else { return };
    if stopped_by(program, WaitIdOptions::NOWAIT).is_none() {
        return;
    }
    tokio::time::sleep(TURN).await;
    let Some(signal) = stopped_by(program, WaitIdOptions::empty()) else { return };
    if has_terminal(program) {
        // In an orphaned process group, where no shell could continue us, the kernel ignores all of them but SIGSTOP.
        let signal = if signal == Signal::STOP { Signal::TSTP } else { signal };
        let _ = kill_process(getpid(), signal);
    }
}

/// The signal that has stopped the program, if it is stopped. Told once, unless by `NOWAIT`.
fn stopped_by(program: Pid, how: WaitIdOptions) -> Option<Signal> {
    let status = waitid(WaitId::Pid(program), WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | how).ok()??;
    Signal::from_named_raw(status.stopping_signal()?)
}

/// Whether the terminal is ours, or the program's.
fn has_terminal(program: Pid) -> bool {
    let Ok(terminal) = std::fs::File::open("/dev/tty") else { return false };
    let foreground = tcgetpgrp(&terminal).ok();
    foreground.is_some() && [Some(getpgrp()), getpgid(Some(program)).ok()].contains(&foreground)
}
