//! The `minato` command: any program with its own IP address and its own 65,536 ports, without root.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods)]

mod background;
mod capture;
mod client;
mod commands;
mod demo;
mod explain;
mod failure;
mod file;
mod flags;
mod here;
mod machine;
mod program;
mod proxy;
mod relay;
mod render;
mod runtime_dir;
mod state_dir;
mod terminal;
mod trust;
mod up;

use std::process::ExitCode;

use crate::flags::raw::Flags;
use crate::terminal::Terminal;

fn main() -> ExitCode {
    if is("__agent") {
        program::rename("minato-agent");
        return minato_host::agent::main();
    }
    if is(up::LEADER) {
        return ExitCode::SUCCESS;
    }
    let flags = Flags::read(&std::env::args_os().collect::<Vec<_>>());
    let terminal = Terminal::detect(flags.json, flags.no_color);
    let result = flags::resolve(flags).and_then(|invocation| commands::perform(invocation, &terminal));
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            terminal.report(&failure);
            ExitCode::from(failure.code)
        }
    }
}

/// What is told apart before anything else: the engine's agent must be alone in its process when it makes namespaces, and
/// the leader of a process group has nothing to do.
fn is(role: &str) -> bool {
    std::env::args_os().nth(1).is_some_and(|argument| argument == role)
}
