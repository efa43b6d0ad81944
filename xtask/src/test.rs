//! `cargo xtask test`: installs what the tests need, then runs all of them.

use anyhow::Result;
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
    let mut nextest = command::cargo(["nextest", "run", "--workspace", "--locked", "--profile", profile]);
    command::run(nextest.args(&options.nextest))
}
