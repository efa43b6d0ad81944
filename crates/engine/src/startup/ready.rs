//! Telling the starter how it went: one line of JSON on a pipe.

use std::fs::File;
use std::io::Write;

use minato_inspect::Problem;

/// Writes the line and closes the pipe. Whoever started us may be gone, which is no problem of ours.
pub(crate) fn announce(pipe: Option<File>, outcome: Result<(), &Problem>) {
    let Some(mut pipe) = pipe else { return };
    let line = match outcome {
        Ok(()) => Ok(r#"{"ready":true}"#.to_owned()),
        Err(problem) => serde_json::to_string(problem),
    };
    if let Ok(line) = line {
        let _ = writeln!(pipe, "{line}");
    }
}
