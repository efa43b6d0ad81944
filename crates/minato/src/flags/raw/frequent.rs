//! Command lines that are read at every start of a program, without the description of all the others: that of every command
//! with every flag takes clap longer than all that `minato run` does by itself.

use std::ffi::OsString;

use clap::{Parser, Subcommand};

use super::{Command, Engine, Exec, Flags, Run};

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
    pub(crate) fn read(words: Vec<OsString>) -> Flags {
        Flags::frequent(&words).unwrap_or_else(|| Flags::parse_from(words))
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
