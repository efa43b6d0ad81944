//! What the policy of the host says that a connection is tried from.

use super::Diagnosis;
use crate::explain::HopState;
use crate::failure::code;

impl Diagnosis<'_> {
    /// The first refusal is the reason: what the policy refuses, nothing else can mend.
    pub(super) fn policy(&mut self) {
        for verdict in &self.facts.verdicts {
            let state = if verdict.allowed { HopState::Good } else { HopState::Broken };
            self.result.hop(state, "policy", verdict.reason.clone());
            if verdict.allowed {
                continue;
            }
            let flag = &self.facts.network_flag;
            let fixes = verdict.allow.iter().flat_map(|rule| {
                let file = format!("in minato.toml: allow = [\"{rule}\"]");
                [file, format!("minato{flag} run --allow '{rule}' …    # together with the rules that the host has")]
            });
            self.result.because(code::FAILED, verdict.reason.clone(), fixes);
        }
    }
}
