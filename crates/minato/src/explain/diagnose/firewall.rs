//! Rules that stop a connection: on this machine, where only root may see whether there are any, and inside hosts.

use minato_host::firewall::{Fate, Stop};

use super::Diagnosis;
use crate::explain::HopState;
use crate::explain::firewall::Firewall;
use crate::failure::code;

impl Diagnosis<'_> {
    /// `failed`: a trial did not come through, so that what can't be seen is worth a word.
    pub(super) fn firewalls(&mut self, failed: bool) {
        for firewall in &self.facts.firewalls {
            let place = firewall.host.as_ref().map(|host| format!("inside {host}: ")).unwrap_or_default();
            match &firewall.outcome {
                Ok(filtered) => {
                    for (destination, fate) in &filtered.fates {
                        self.fate(firewall, &place, &destination.to_string(), fate);
                    }
                    for unread in &filtered.unread {
                        self.result.hop(HopState::Unknown, "firewall", format!("{place}{unread}"));
                    }
                }
                Err(error) if failed => self.result.hop(HopState::Unknown, "firewall", format!("{place}{error}")),
                Err(_) => {}
            }
        }
    }

    fn fate(&mut self, firewall: &Firewall, place: &str, destination: &str, fate: &Fate) {
        match fate {
            Fate::Passes => {}
            Fate::Stopped(stop) => {
                let what = if stop.rejects { "rejects" } else { "drops" };
                self.result.hop(HopState::Broken, "firewall", format!("{place}{stop} {what} {destination}"));
                let whose = match &firewall.host {
                    Some(host) => format!("the firewall inside {host}"),
                    None => "this machine's firewall".to_owned(),
                };
                let why = format!("{whose} stops it: {stop} {what} the packets");
                self.result.because(code::FAILED, why, [self.mend(firewall, stop)]);
            }
            Fate::Perhaps(stop) => {
                let seen = format!("{place}{stop} may stop {destination}: it has a condition that can't be decided");
                self.result.hop(HopState::Unknown, "firewall", seen);
            }
        }
    }

    fn mend(&self, firewall: &Firewall, stop: &Stop) -> String {
        match (&firewall.host, self.facts.is_root) {
            (Some(host), _) => format!("minato{} exec --net-admin {host} -- {}", self.flag_inside(host), stop.mend()),
            (None, true) => stop.mend(),
            (None, false) => format!("sudo {}", stop.mend()),
        }
    }
}
