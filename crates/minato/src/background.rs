//! What a process of ours does that stays when whoever started it goes on: standard output is a pipe on which the starter
//! waits for a word.

use std::fs::File;
use std::io::{self, Write};

use serde::Serialize;

/// Leaves whoever started it: its terminal, its signals, and what it had open. To be called before anything of ours is open.
pub(crate) fn leave_starter() {
    // What stays open does no harm but to whoever waits for its end.
    let _ = minato_host::inherited::close_descriptors();
    leave_session();
}

/// Becomes a session of its own, away from the starter's terminal and its signals.
pub(crate) fn leave_session() {
    // Fails only for the leader of a process group, which is nobody's child in a shell's job.
    let _ = rustix::process::setsid();
}

/// Moves the starter's pipe away from standard output, where only data for people belongs; a pipe that stayed open there
/// would keep the starter waiting.
pub(crate) fn take_pipe() -> io::Result<File> {
    let pipe = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
    let nowhere = File::options().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&nowhere)?;
    Ok(File::from(pipe))
}

/// Says one line to the starter, and lets it go.
pub(crate) fn say(word: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(word)?;
    line.push(b'\n');
    take_pipe()?.write_all(&line)
}
