//! What the policy of the host says that a connection is tried from.

use super::Diagnosis;
use crate::explain::HopState;
use crate::failure::code;

impl Diagnosis<'_> {
    /// The first refusal is the reason: what the policy refuses, nothing else can mend.
    pub(super) fn policy(&mut self) {
        for verdict in &self.facts.verdicts {
            let state = if verdict.allowed { HopState::Good } else { HopState::Broken };
            // A name and its addresses often share one.
            let is_told = self.result.hops.iter().any(|hop| hop.evidence == verdict.reason);
            if !is_told {
                self.result.hop(state, "policy", verdict.reason.clone());
            }
            if verdict.allowed {
                continue;
            }
            let fixes = verdict.allow.iter().flat_map(|rule| self.allowing(rule));
            self.result.because(code::FAILED, verdict.reason.clone(), fixes.collect::<Vec<_>>());
        }
    }

    /// How the host is started with one rule more. It keeps its policy for its life.
    fn allowing(&self, rule: &str) -> [String; 2] {
        let host = self.network.hosts.iter().find(|host| Some(&host.name) == self.facts.from.as_ref());
        let (allow, deny) = host.map(|host| (host.policy.allow.clone(), host.policy.deny.clone())).unwrap_or_default();
        let all: Vec<String> = allow.into_iter().chain([rule.to_owned()]).collect();
        let quoted: Vec<String> = all.iter().map(|rule| format!("\"{rule}\"")).collect();
        let flags = |flag: &str, rules: &[String]| -> String {
            rules.iter().map(|rule| format!(" {flag} {}", shell_words::quote(rule))).collect()
        };
        let (flag, name) = (&self.facts.network_flag, self.facts.from.as_deref().unwrap_or("HOST"));
        let rules = flags("--allow", &all) + &flags("--deny", &deny);
        [
            format!("in minato.toml: allow = [{}]", quoted.join(", ")),
            format!(
                "minato{flag} run --name {name}{rules} -- PROGRAM    # once {name} has ended, which keeps its policy"
            ),
        ]
    }
}
