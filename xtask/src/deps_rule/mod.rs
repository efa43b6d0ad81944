//! `cargo xtask deps-rule`: the crate table of the architecture as a check that can fail.
//!
//! A crate of this workspace exists to enforce a dependency rule, so the rules are data here and each violation is
//! one printed line. The sources are read as Rust tokens: comments and strings do not count.

mod rules;
mod workspace;

#[cfg(test)]
mod tests;

use anyhow::{Result, bail};

/// Checks the workspace and prints each violated rule.
pub(crate) fn run() -> Result<()> {
    let packages = workspace::load()?;
    let violations = rules::check(&packages);
    for violation in &violations {
        println!("deps-rule: {violation}");
    }
    if !violations.is_empty() {
        bail!("{} of the dependency rules are violated", violations.len());
    }
    eprintln!("xtask: deps-rule: {} crates keep the rules", packages.len());
    Ok(())
}
