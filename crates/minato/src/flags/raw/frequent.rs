//! Command lines that are read at every start of a program, without the description of all the others: that of every command
//! with every flag takes clap longer than all that `minato run` does by itself.

use std::ffi::OsString;

use clap::{Parser, Subcommand};

use super::{Command, Engine, Exec, Flags, Run};
use crate::failure::{Failure, code};
use crate::terminal::Terminal;

/// The same commands as in [`Command`].
#[derive(Clone, Debug, Subcommand)]
enum Frequent {
    Run(Run),
    Exec(Exec),
    #[command(name = "__engine")]
    Engine(Engine),
}

impl Flags {
    /// Reads a command line, and answers for the whole process where it can't be, or asks for help.
    pub(crate) fn read(words: &[OsString]) -> Flags {
        let read = || Flags::try_parse_from(words).unwrap_or_else(|error| refuse(&error, words));
        Flags::frequent(words).unwrap_or_else(read)
    }

    /// A command line that is good and begins with a frequent command. Of others clap needs to know everything.
    pub(in crate::flags) fn frequent(words: &[OsString]) -> Option<Flags> {
        let is_frequent = ["run", "exec", "__engine"].iter().any(|name| words.get(1).is_some_and(|word| word == name));
        if !is_frequent {
            return None;
        }
        let Flags { network, json, no_color, command } = Flags::<Frequent>::try_parse_from(words).ok()?;
        let command = match command {
            Frequent::Run(run) => Command::Run(run),
            Frequent::Exec(exec) => Command::Exec(exec),
            Frequent::Engine(engine) => Command::Engine(engine),
        };
        Some(Flags { network, json, no_color, command })
    }
}

/// Says why a command line can't be read, as data where that was asked for, or what was asked for instead, as help; and ends.
fn refuse(error: &clap::Error, words: &[OsString]) -> ! {
    let wants_json = words.iter().take_while(|word| *word != "--").any(|word| word == "--json");
    if !error.use_stderr() || !wants_json {
        error.exit();
    }
    Terminal::detect(true, true).report(&as_failure(&error.render().to_string()));
    std::process::exit(i32::from(code::USAGE))
}

/// Clap's words: the first line says what is wrong, and what follows up to the usage why.
fn as_failure(text: &str) -> Failure {
    let mut lines =
        text.lines().take_while(|line| !line.starts_with("Usage:")).map(str::trim).filter(|line| !line.is_empty());
    let title = lines.next().unwrap_or_default();
    lines.fold(Failure::usage(title.strip_prefix("error: ").unwrap_or(title)), Failure::detail)
}
