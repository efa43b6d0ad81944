//! What minato needs from the machine, each with state, evidence and fix.

use crate::agent::FabricError;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CheckState {
    /// As wanted.
    Ok,
    /// minato works, with a limit that `evidence` names.
    Warn,
    /// minato can't work.
    Fail,
}

/// One thing that minato needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Short name, such as `user namespaces`.
    pub name: &'static str,
    /// How it came out.
    pub state: CheckState,
    /// What was seen, such as `kernel.apparmor_restrict_unprivileged_userns = 1`.
    pub evidence: String,
    /// What to do, as a command where possible; `None` when all is well.
    pub fix: Option<String>,
}

/// Looks at everything, in the order of importance. Changes nothing that outlives the call.
pub fn all() -> Vec<Check> {
    unimplemented!()
}

/// The likely cause of a failed [`crate::agent::Fabric::create`], as a failed check.
pub fn explain(error: &FabricError) -> Check {
    let _ = error;
    unimplemented!()
}
