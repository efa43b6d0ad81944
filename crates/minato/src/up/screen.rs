//! What a supervisor shows: lines of programs on standard output, everything else on standard error; or all of it to
//! the `up -d` that waits for it.

use std::fs::File;
use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use serde::{Deserialize, Serialize};

use super::logs::Line;
use super::progress::{self, Row};
use crate::failure::Failure;
use crate::terminal::{self, Terminal, json_view};

/// Colours of hosts, one after the other.
const COLOURS: [AnsiColor; 6] =
    [AnsiColor::Cyan, AnsiColor::Yellow, AnsiColor::Green, AnsiColor::Magenta, AnsiColor::Blue, AnsiColor::Red];

/// Something that a supervisor in the background tells the `up -d` that waits for it: a line of JSON each.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Notice {
    Say(String),
    Report(Failure),
    Progress(Vec<Row>),
    AllReady(Vec<String>),
    Failed(Failure),
}

/// Who sees what there is to see.
#[derive(Debug)]
enum Viewer {
    /// Whoever looks at this process's output.
    Here,
    /// An `up -d` that waits until all is ready, at the other end of a pipe.
    Starter(File),
    /// Nobody any more: it has gone.
    Nobody,
}

/// What standard output is like.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Output {
    /// It takes lines.
    Open,
    /// Nobody reads it any more.
    Closed,
    /// It takes none, as on a full disk.
    Broken,
}

/// Where things are shown.
#[derive(Debug)]
pub(crate) struct Screen {
    terminal: Terminal,
    viewer: Viewer,
    /// Who has written lines, in order of appearance, for colours and widths.
    authors: Vec<String>,
    /// What is in progress, and how many lines of it are on the terminal.
    rows: Vec<Row>,
    drawn: usize,
    /// Whether standard error can be drawn on.
    draws: bool,
    output: Output,
}

impl Screen {
    /// Shows on this process's own terminal.
    pub(crate) fn new(terminal: &Terminal) -> Screen {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let draws = io::stderr().is_terminal() && !dumb && !terminal.json;
        let terminal = terminal.clone();
        let (viewer, output) = (Viewer::Here, Output::Open);
        Screen { terminal, viewer, authors: Vec::new(), rows: Vec::new(), drawn: 0, draws, output }
    }

    /// Tells the `up -d` at the other end of a pipe.
    pub(super) fn for_starter(terminal: &Terminal, pipe: File) -> Screen {
        Screen { viewer: Viewer::Starter(pipe), draws: false, ..Screen::new(terminal) }
    }

    /// Who will write lines: they are told apart by colours, and stand in one column.
    pub(crate) fn expect(&mut self, authors: &[String]) {
        for author in authors {
            if !self.authors.contains(author) {
                self.authors.push(author.clone());
            }
        }
    }

    /// Whether nobody reads standard output any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.output == Output::Closed
    }

    /// Whether standard output takes no lines, which was said.
    pub(crate) fn is_broken(&self) -> bool {
        self.output == Output::Broken
    }

    /// A line of a program.
    pub(crate) fn line(&mut self, line: &Line) {
        if !matches!(self.viewer, Viewer::Here) || self.output != Output::Open {
            return;
        }
        let text = if self.terminal.json { json_view("line", line) } else { self.with_author(line) };
        self.wipe();
        let mut output = io::stdout().lock();
        let result = output.write_all(text.as_bytes()).and_then(|()| output.flush());
        drop(output);
        match result {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.output = Output::Closed,
            Err(error) => {
                self.output = Output::Broken;
                self.terminal.warn(&format!("cannot write to standard output, no more lines are shown: {error}"));
            }
        }
        self.draw();
    }

    /// A sentence for the user.
    pub(super) fn say(&mut self, message: &str) {
        if !self.tell(|| Notice::Say(message.to_owned())) {
            self.wipe();
            self.terminal.warn(message);
            self.draw();
        }
    }

    /// A failure that does not end everything.
    pub(super) fn report(&mut self, failure: &Failure) {
        if !self.tell(|| Notice::Report(failure.clone())) {
            self.wipe();
            self.terminal.report(failure);
            self.draw();
        }
    }

    /// How far everything is: drawn anew on a terminal, elsewhere a line for each host that has come to something.
    pub(super) fn progress(&mut self, rows: Vec<Row>) {
        if self.tell(|| Notice::Progress(rows.clone())) {
            return;
        }
        if !self.draws {
            for sentence in progress::news(&self.rows, &rows) {
                self.terminal.warn(&sentence);
            }
        }
        self.wipe();
        self.rows = rows;
        self.draw();
    }

    /// Ends the progress view with what there is now.
    pub(super) fn all_ready(&mut self, lines: &[String]) {
        if self.tell(|| Notice::AllReady(lines.to_vec())) {
            self.viewer = Viewer::Nobody;
            return;
        }
        self.end_of_progress();
        lines.iter().for_each(|line| self.terminal.warn(line));
    }

    /// Takes the progress view off the terminal.
    pub(super) fn end_of_progress(&mut self) {
        self.wipe();
        self.draws = false;
    }

    /// The last word of a supervisor in the background that has failed.
    pub(super) fn failed(&mut self, failure: &Failure) {
        self.tell(|| Notice::Failed(failure.clone()));
    }

    /// Tells the starter instead, if this screen is for one. That nobody listens any more is no reason to end.
    fn tell(&mut self, notice: impl FnOnce() -> Notice) -> bool {
        match &mut self.viewer {
            Viewer::Here => return false,
            Viewer::Nobody => {}
            Viewer::Starter(pipe) => {
                if let Ok(mut line) = serde_json::to_vec(&notice()) {
                    line.push(b'\n');
                    let _ = pipe.write_all(&line);
                }
            }
        }
        true
    }

    fn with_author(&mut self, line: &Line) -> String {
        let author = line.author();
        self.expect(std::slice::from_ref(&author));
        let index = self.authors.iter().position(|other| *other == author).unwrap_or(0);
        let width = self.authors.iter().map(String::len).max().unwrap_or(0);
        let colour = self.terminal.look.colour;
        let style = Style::new().fg_color(colour.then(|| COLOURS[index % COLOURS.len()].into()));
        format!("{style}{author:width$} |{style:#} {}\n", harmless(&line.text, colour))
    }

    fn wipe(&mut self) {
        if self.drawn > 0 {
            // Up to the first line of what was drawn, and everything below it away.
            let _ = write!(io::stderr(), "\u{1b}[{}A\u{1b}[J", self.drawn);
            self.drawn = 0;
        }
    }

    fn draw(&mut self) {
        if self.draws {
            let lines = progress::lines(&self.rows, terminal::width(&io::stderr()));
            let _ = io::stderr().write_all(lines.concat().as_bytes());
            self.drawn = lines.len();
        }
    }
}

/// A program's line without what steers a terminal, but with its colours where colours are wanted.
fn harmless(text: &str, colour: bool) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        match sequence(rest) {
            Some((length, is_colour)) => {
                clean.push_str(if colour && is_colour { &rest[..length] } else { "" });
                rest = &rest[length..];
            }
            None => {
                clean.push(if c.is_control() && c != '\t' { '\u{fffd}' } else { c });
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    if colour && clean.contains('\u{1b}') {
        clean.push_str("\u{1b}[0m");
    }
    clean
}

/// A control sequence (ECMA-48 §5.4) at the beginning of a text: its length, and whether it sets colours.
fn sequence(text: &str) -> Option<(usize, bool)> {
    let parameters = text.strip_prefix("\u{1b}[")?;
    let end = parameters.find(|c: char| !matches!(c, '\u{20}'..='\u{3f}'))?;
    let last = parameters[end..].chars().next().filter(|c| matches!(c, '\u{40}'..='\u{7e}'))?;
    Some((2 + end + 1, last == 'm'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::widths::whole;

    #[test]
    fn lines_of_programs_stand_behind_their_names() {
        let line = |host: &str, service: Option<&str>, text: &str| Line {
            time: 0.0,
            host: host.into(),
            service: service.map(str::to_owned),
            text: text.into(),
            gap: None,
        };
        let lines = [
            line("db", None, "\u{1b}[1mready\u{1b}[0m to accept connections"),
            line("web", Some("worker"), &"a word and ".repeat(15)),
            line("a-host-that-came-later", None, "hello"),
            line("db", None, "and on"),
        ];
        insta::assert_snapshot!(whole(|look| {
            let mut terminal = Terminal::detect(false, true);
            terminal.look = *look;
            let mut screen = Screen::new(&terminal);
            screen.expect(&["db".into(), "web/worker".into()]);
            lines.iter().map(|line| screen.with_author(line)).collect()
        }));
    }

    #[test]
    fn what_steers_a_terminal_is_taken_out() {
        let text = "a\u{1b}[31mred\u{1b}[0m \u{1b}[2Jgone\r\u{1b}]0;title\u{7}\tb\u{1b}";
        assert_eq!(harmless(text, false), "ared gone\u{fffd}\u{fffd}]0;title\u{fffd}\tb\u{fffd}");
        let coloured = harmless(text, true);
        assert!(
            coloured.starts_with("a\u{1b}[31mred\u{1b}[0m gone") && coloured.ends_with("\u{1b}[0m"),
            "{coloured:?}"
        );
        assert_eq!(harmless("\u{1b}[é", true), "\u{fffd}[é");
    }
}
