//! Whether a program that is bound takes the connections that the kernel accepts for it.

use minato_inspect::PortRow;

use super::{Diagnosis, who};
use crate::explain::HopState;
use crate::failure::code;

impl Diagnosis<'_> {
    /// A program that is stopped, or one whose accept queue is full: a trial may look well, for the kernel and our
    /// forwards accept in its place.
    pub(super) fn readiness(&mut self, row: &PortRow) {
        let pids: Vec<u32> = row.processes.iter().map(|process| process.pid).collect();
        let all_stopped = !pids.is_empty() && pids.iter().all(|pid| self.facts.stopped.contains(pid));
        let queue = row.accept_queue.filter(|queue| queue.is_full());
        if let Some(queue) = queue {
            let seen = format!(
                "{} connections wait to be accepted: all that its backlog of {} takes",
                queue.waiting, queue.limit
            );
            self.result.hop(HopState::Broken, "queue", seen);
        }
        let ids = pids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
        let who = who(row);
        if all_stopped {
            self.result.hop(HopState::Broken, "process", format!("{who} is stopped"));
            let why = format!("{who} is stopped (Ctrl-Z, SIGSTOP or a debugger): it accepts and answers nothing");
            self.result.because(code::FAILED, why, [format!("kill -CONT {ids}")]);
        } else if queue.is_some() {
            let why = format!("its accept queue is full: {who} does not accept, so others get no answer");
            let restart =
                (!ids.is_empty()).then(|| format!("kill {ids}    # and start it again: it hangs, or is too slow"));
            self.result.because(code::FAILED, why, restart);
        }
    }
}
