//! What the connections that were tried say, when the facts alone do not explain it.

use minato_inspect::Transport;

use super::Diagnosis;
use crate::explain::exhaustion::Exhaustion;
use crate::explain::facts::{Subject, Trial};
use crate::explain::probe::Outcome;
use crate::explain::{HopState, UNKNOWN};
use crate::failure::code;

impl Diagnosis<'_> {
    /// What really happened, and what that says when nothing else explains it.
    pub(super) fn trials(&mut self) {
        // A host is reached by the family that its service is bound to; that the other one fails is worth a look only.
        // Silence is well: where nobody is, a datagram is refused.
        let is_machine = matches!(self.facts.subject, Subject::Machine(_));
        let is_well = |trial: &Trial| trial.outcome.came_through() || trial.outcome == Outcome::Silent;
        let one_is_well = !is_machine && self.facts.trials.iter().any(is_well);
        for trial in &self.facts.trials {
            let (mut state, seen) = outcome(trial);
            if state == HopState::Broken && !self.result.is_explained() && one_is_well {
                state = HopState::Odd;
            }
            let from = trial.from.as_ref().map(|host| format!(" from inside {host}")).unwrap_or_default();
            self.result.hop(state, "trial", format!("{}{from}: {seen}", trial.destination));
        }
        if self.result.is_explained() {
            return;
        }
        let failed = self.facts.trials.iter().find(|trial| !is_well(trial));
        self.firewalls(self.facts.trials.iter().any(|trial| !trial.outcome.came_through()));
        if !one_is_well && let Some(first) = failed {
            self.all_failed(first);
        }
    }

    fn all_failed(&mut self, trial: &Trial) {
        let is_elsewhere = matches!(self.facts.subject, Subject::Elsewhere(_));
        let (code, why) = match &trial.outcome {
            Outcome::PortsExhausted(exhaustion) => return self.exhausted(trial, exhaustion),
            Outcome::Refused if is_elsewhere => (code::NOTHING, "nothing listens there, or a firewall there refuses"),
            Outcome::Refused if self.transport == Transport::Udp => (
                UNKNOWN,
                "unknown: it is bound, but refuses; it may have begun or ended just now, or a firewall refuses",
            ),
            Outcome::Refused => (
                UNKNOWN,
                "unknown: it listens, but refuses; it may have begun or ended just now, or a firewall refuses",
            ),
            Outcome::TimedOut if is_elsewhere => {
                (UNKNOWN, "unknown: no answer; nobody may have the address, or a firewall drops the packets")
            }
            Outcome::TimedOut => (UNKNOWN, "unknown: no answer; a firewall may drop the packets"),
            Outcome::Unreachable(_) => (code::WRONG_ADDRESS, "there is no way to this address"),
            Outcome::Failed(_) | Outcome::Connected | Outcome::Answered | Outcome::Silent => (UNKNOWN, "unknown"),
        };
        self.result.because(code, why, []);
    }

    fn exhausted(&mut self, trial: &Trial, exhaustion: &Exhaustion) {
        const WIDEST: (u16, u16) = (1024, 65535);
        let kill =
            exhaustion.top.as_ref().map(|top| format!("kill {}    # {} has {} of them", top.pid, top.name, top.ports));
        let (setting, flag) = ("sysctl -w net.ipv4.ip_local_port_range='1024 65535'", &self.facts.network_flag);
        let widen = (exhaustion.range != WIDEST).then(|| match (&trial.from, self.facts.is_root) {
            (None, true) => setting.to_owned(),
            (None, false) => format!("sudo {setting}"),
            (Some(host), true) => format!("minato{flag} exec {host} -- {setting}"),
            (Some(host), false) => format!("minato{flag} run --name {host} --ephemeral-range 1024-65535 -- PROGRAM"),
        });
        // An ordinary user can choose a host's range only when it begins.
        let needs_restart = trial.from.is_some() && !self.facts.is_root;
        let fixes = if needs_restart { [widen, kill] } else { [kill, widen] }.into_iter().flatten();
        let why = format!("every ephemeral port towards {} is in use", trial.destination);
        self.result.because(code::EXHAUSTED, why, fixes);
    }
}

fn outcome(trial: &Trial) -> (HopState, String) {
    match &trial.outcome {
        Outcome::Connected => (HopState::Good, "accepted".into()),
        Outcome::Refused => (HopState::Broken, "refused".into()),
        Outcome::TimedOut => (HopState::Broken, "no answer".into()),
        Outcome::Answered => (HopState::Good, "answered".into()),
        Outcome::Silent => (HopState::Unknown, "no answer, which for UDP proves nothing".into()),
        Outcome::PortsExhausted(exhaustion) => (HopState::Broken, used_up(exhaustion)),
        Outcome::Unreachable(reason) | Outcome::Failed(reason) => (HopState::Broken, reason.clone()),
    }
}

fn used_up(exhaustion: &Exhaustion) -> String {
    let Exhaustion { range: (first, last), used, top } = exhaustion;
    let all = usize::from(last.saturating_sub(*first)) + 1;
    let by = top.as_ref().map(|top| format!(", {} of them by {} {}", top.ports, top.name, top.pid)).unwrap_or_default();
    format!("no port to connect from: {used} of {all} ({first}-{last}) are in use there{by}")
}
