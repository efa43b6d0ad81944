//! `cargo xtask test`: installs what the tests need, then runs all of them.

use std::fs;

use anyhow::{Result, bail};
use clap::Args;

use crate::{command, packages, tools};

#[derive(Args)]
pub(crate) struct Options {
    /// Passed on to `cargo nextest run`, for example a filter
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    nextest: Vec<String>,
}

/// All tests of the workspace. With a filter, only the tests that it selects and no doctests.
pub(crate) fn run(options: &Options) -> Result<()> {
    tools::require_nextest()?;
    if let Err(error) = packages::ensure(packages::TEST) {
        if crate::in_ci() {
            return Err(error);
        }
        eprintln!("xtask: {error:#}\nxtask: tests that need them will be skipped, each with a line that says so");
    }
    if options.nextest.is_empty() {
        command::run(&mut command::cargo(["test", "--workspace", "--doc", "--locked"]))?;
    }
    let profile = if crate::in_ci() { "ci" } else { "default" };
    let report = tools::target_directory().join("nextest").join(profile).join("junit.xml");
    let _ = fs::remove_file(&report);
    let mut nextest = command::cargo(["nextest", "run", "--workspace", "--locked", "--profile", profile]);
    command::run(nextest.args(&options.nextest))?;

    let report = fs::read_to_string(&report)?;
    let skips: Vec<&str> = skips(&report).collect();
    for skip in &skips {
        eprintln!("xtask: {skip}");
    }
    if crate::in_ci() && !skips.is_empty() {
        bail!("in CI nothing may be skipped, and {} tests were", skips.len());
    }
    Ok(())
}

/// What tests said that did not run: they pass, so nextest does not show it.
fn skips(report: &str) -> impl Iterator<Item = &str> {
    report.lines().filter_map(|line| line.find("SKIPPED").map(|start| &line[start..]))
}

#[cfg(test)]
mod tests {
    #[test]
    fn skips_are_found_in_the_output_of_passed_tests() {
        let report = "<system-err>running\n!!! SKIPPED a: no tun\n&gt; SKIPPED: b\n</system-err>";
        assert_eq!(super::skips(report).collect::<Vec<_>>(), ["SKIPPED a: no tun", "SKIPPED: b"]);
    }
}
