//! What the connections that were tried say, when the facts alone do not explain it.

use minato_host::firewall::{Fate, Stop};
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
        if self.transport == Transport::Udp {
            self.result.hop(HopState::Unknown, "trial", "UDP has no connections: silence says nothing");
        }
        // A host is reached by the family that its service is bound to; that the other one fails is worth a look only.
        let is_machine = matches!(self.facts.subject, Subject::Machine(_));
        let one_came_through = !is_machine && self.facts.trials.iter().any(|trial| trial.outcome == Outcome::Connected);
        for trial in &self.facts.trials {
            let (mut state, seen) = outcome(trial);
            if state == HopState::Broken && !self.result.is_explained() && one_came_through {
                state = HopState::Odd;
            }
            let from = trial.from.as_ref().map(|host| format!(" from inside {host}")).unwrap_or_default();
            self.result.hop(state, "trial", format!("{}{from}: {seen}", trial.destination));
        }
        if self.result.is_explained() {
            return;
        }
        self.firewall();
        let failed: Vec<&Trial> =
            self.facts.trials.iter().filter(|trial| trial.outcome != Outcome::Connected).collect();
        if !one_came_through && let Some(first) = failed.first() {
            self.all_failed(first);
        }
    }

    fn all_failed(&mut self, trial: &Trial) {
        let is_elsewhere = matches!(self.facts.subject, Subject::Elsewhere(_));
        let (code, why) = match &trial.outcome {
            Outcome::PortsExhausted(exhaustion) => return self.exhausted(trial, exhaustion),
            Outcome::Refused if is_elsewhere => (code::NOTHING, "nothing listens there, or a firewall there refuses"),
            Outcome::Refused => (
                UNKNOWN,
                "unknown: it listens, but refuses; it may have begun or ended just now, or a firewall refuses",
            ),
            Outcome::TimedOut if is_elsewhere => {
                (UNKNOWN, "unknown: no answer; nobody may have the address, or a firewall drops the packets")
            }
            Outcome::TimedOut => (UNKNOWN, "unknown: no answer; a firewall may drop the packets"),
            Outcome::Unreachable(_) => (code::WRONG_ADDRESS, "there is no way to this address"),
            Outcome::Failed(_) | Outcome::Connected => (UNKNOWN, "unknown"),
        };
        self.result.because(code, why, []);
    }

    /// A rule of this machine that stops a connection. Only root may see whether there is one.
    fn firewall(&mut self) {
        let fates = match &self.facts.firewall {
            None => return,
            Some(Ok(fates)) => fates,
            Some(Err(error)) => {
                return self.result.hop(HopState::Unknown, "firewall", format!("nftables can't be read: {error}"));
            }
        };
        for (destination, fate) in fates {
            match fate {
                Fate::Passes => {}
                Fate::Stopped(stop) => {
                    let what = if stop.rejects { "rejects" } else { "drops" };
                    self.result.hop(HopState::Broken, "firewall", format!("{stop} {what} {destination}"));
                    let why = format!("this machine's nftables stop it: {stop} {what} the packets");
                    self.result.because(code::FAILED, why, [mend(stop, self.facts.is_root)]);
                }
                Fate::Perhaps(stop) => {
                    let seen = format!("{stop} may stop {destination}: it has a condition that can't be decided");
                    self.result.hop(HopState::Unknown, "firewall", seen);
                }
            }
        }
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

/// The command that lets the packets pass: the rule goes; a policy gets an exception for what this machine says to itself.
fn mend(stop: &Stop, is_root: bool) -> String {
    let sudo = if is_root { "" } else { "sudo " };
    let Stop { family, table, chain, handle, .. } = stop;
    match handle {
        Some(handle) => format!("{sudo}nft delete rule {family} {table} {chain} handle {handle}"),
        None => format!("{sudo}nft insert rule {family} {table} {chain} iif lo accept"),
    }
}

fn outcome(trial: &Trial) -> (HopState, String) {
    match &trial.outcome {
        Outcome::Connected => (HopState::Good, "accepted".into()),
        Outcome::Refused => (HopState::Broken, "refused".into()),
        Outcome::TimedOut => (HopState::Broken, "no answer".into()),
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
