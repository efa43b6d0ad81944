//! What commands write to: data to standard output, messages to standard error, colour only where it is wanted.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::failure::Failure;
use crate::render::{Look, printable};

/// The two streams and how they are to look.
#[derive(Clone, Debug)]
pub(crate) struct Terminal {
    /// Whether views are printed as JSON.
    pub(crate) json: bool,
    /// How standard output looks.
    pub(crate) look: Look,
    /// Whether standard error is coloured.
    colour_errors: bool,
}

impl Terminal {
    /// Looks at the streams and at `NO_COLOR`, `TERM` and `COLUMNS`.
    pub(crate) fn detect(json: bool, no_color: bool) -> Terminal {
        let forbidden = no_color
            || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        let output = io::stdout();
        let look = Look { colour: !forbidden && output.is_terminal(), width: width(&output) };
        Terminal { json, look, colour_errors: !forbidden && io::stderr().is_terminal() }
    }

    /// Prints data. A reader that has gone away ends the command quietly.
    pub(crate) fn print(&self, text: &str) {
        self.print_or(text, || ());
    }

    /// The same; before the command ends because nobody gets the data, `undo` is called.
    pub(crate) fn print_or(&self, text: &str, undo: impl FnOnce()) {
        let mut output = io::stdout().lock();
        let Err(error) = output.write_all(text.as_bytes()).and_then(|()| output.flush()) else { return };
        undo();
        if error.kind() == io::ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        self.warn(&format!("cannot write to standard output: {error}"));
        std::process::exit(i32::from(crate::failure::code::FAILED));
    }

    /// Prints a view: `text` for people, or `{"version":1,"NAME":data}` on one line with `--json`.
    pub(crate) fn view<T: Serialize>(&self, name: &str, data: &T, text: impl FnOnce(&Look) -> String) {
        self.print(&self.viewed(name, data, text));
    }

    /// What a view prints.
    pub(crate) fn viewed<T: Serialize>(&self, name: &str, data: &T, text: impl FnOnce(&Look) -> String) -> String {
        if self.json { json_view(name, data) } else { text(&self.look) }
    }

    /// A list as a view: no text for people where it is empty, always an array as JSON.
    pub(crate) fn list<T: Serialize>(
        &self,
        name: &str,
        list: &[T],
        text: impl FnOnce(&[T], &Look) -> String,
    ) -> String {
        match (self.json, list) {
            (true, list) => json_view(name, &list),
            (false, []) => String::new(),
            (false, list) => text(list, &self.look),
        }
    }

    /// Prints one of many states of a view: in place of the one before on a terminal, else below it.
    pub(crate) fn frame(&self, text: &str) {
        const HOME_AND_CLEAR: &str = "\u{1b}[H\u{1b}[J";
        if self.look.width.is_some() && !self.json {
            self.print(&format!("{HOME_AND_CLEAR}{text}"));
        } else {
            self.print(text);
        }
    }

    /// A sentence on standard error.
    pub(crate) fn warn(&self, message: &str) {
        self.message(&[format!("minato: {message}")]);
    }

    /// A failure on standard error; as JSON when JSON was asked for.
    pub(crate) fn report(&self, failure: &Failure) {
        if self.json {
            self.message(&[json_view("failure", failure).trim_end().to_owned()]);
        } else {
            self.message(&failure.lines());
        }
    }

    fn message(&self, lines: &[String]) {
        let mut errors = io::stderr().lock();
        for (index, line) in lines.iter().enumerate() {
            let line = harmless(line);
            let bold = anstyle::Style::new().bold();
            let styled = self.colour_errors && (index == 0 || index + 1 == lines.len());
            // Standard error may be gone; there is nobody left to tell.
            let _ = if styled { writeln!(errors, "{bold}{line}{bold:#}") } else { writeln!(errors, "{line}") };
        }
    }
}

/// A message without anything that could steer a terminal: names of processes and pieces of files come from outside. It
/// keeps its lines.
fn harmless(message: &str) -> String {
    message.split('\n').map(|line| printable(&line.replace('\t', " "))).collect::<Vec<_>>().join("\n")
}

/// Version of the JSON form of every view. Fields may be added within a version.
const JSON_VERSION: u32 = 1;

/// The versioned JSON form of a view that has several parts: an object's fields beside the version.
pub(crate) fn json_object<T: Serialize>(parts: &T) -> String {
    let fields = serde_json::to_string(parts).unwrap_or_else(|_| "{}".into());
    format!("{{\"version\":{JSON_VERSION},{}\n", fields.trim_start_matches('{'))
}

/// The versioned JSON form of a view, one line.
pub(crate) fn json_view<T: Serialize>(name: &str, data: &T) -> String {
    // Serialising fails for maps with keys that are no text, which no view has.
    let data = serde_json::to_string(data).unwrap_or_else(|_| "null".into());
    format!("{{\"version\":{JSON_VERSION},\"{name}\":{data}}}\n")
}

/// Columns of a terminal; unlimited where the output is none.
pub(crate) fn width(output: &(impl IsTerminal + rustix::fd::AsFd)) -> Option<usize> {
    if !output.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(output).ok().map(|size| usize::from(size.ws_col));
    let columns = || std::env::var("COLUMNS").ok()?.parse().ok();
    size.filter(|width| *width > 0).or_else(columns).or(Some(80))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_lines_and_lose_what_steers_a_terminal() {
        assert_eq!(harmless("key \u{1b}[2J\u{9b}5n:\n  |\ta\r\n"), "key \u{fffd}[2J\u{fffd}5n:\n  | a\u{fffd}\n");
    }
}
