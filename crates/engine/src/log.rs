//! The engine's log: bounded in size, and a line that repeats itself is written once.

use std::fs::File;
use std::io::{self, Write};

use rustix::fs::{OFlags, fcntl_getfl};

/// Where the log begins anew. What it has said last is what somebody looks for.
const MOST: u64 = 1 << 20;
/// What each line begins with, the time, is this long: `2026-11-27T04:30:02.123456Z`.
const TIME: usize = 27;

/// A file to which one line is written at a time.
#[derive(Debug)]
pub(crate) struct Log {
    file: File,
    /// What may be emptied: a file to which everybody appends.
    is_bounded: bool,
    /// The last line without its time, and how often it came again.
    last: Vec<u8>,
    repeated: u64,
}

impl Log {
    /// Goes on with an open file. A terminal, a pipe, or a file that is written at a place of somebody's choice has no bound.
    pub(crate) fn new(file: File) -> Log {
        let appends = fcntl_getfl(&file).is_ok_and(|flags| flags.contains(OFlags::APPEND));
        let is_bounded = appends && file.metadata().is_ok_and(|metadata| metadata.is_file());
        Log { file, is_bounded, last: Vec::new(), repeated: 0 }
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        // Asked each time, because panics are written to it as well.
        if self.is_bounded && self.file.metadata()?.len() + line.len() as u64 > MOST {
            self.file.set_len(0)?;
        }
        self.file.write_all(line)
    }
}

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let words = line.get(TIME..).unwrap_or(line);
        if words == self.last {
            self.repeated += 1;
            return Ok(line.len());
        }
        if self.repeated > 0 {
            let note = format!("the line above came {} more times\n", self.repeated);
            self.repeated = 0;
            self.append(note.as_bytes())?;
        }
        self.last = words.to_vec();
        self.append(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};

    use super::*;

    fn written(name: &str, write: impl FnOnce(&mut Log)) -> String {
        let path = std::env::temp_dir().join(format!("minato-log-{}-{name}", std::process::id()));
        let file = OpenOptions::new().create(true).append(true).open(&path).expect("a file");
        write(&mut Log::new(file));
        let text = fs::read_to_string(&path).expect("the file");
        fs::remove_file(&path).expect("to remove it");
        text
    }

    #[test]
    fn a_line_that_repeats_itself_is_counted() {
        let text = written("repeats", |log| {
            for second in 0..1000 {
                writeln_at(log, second, "WARN can't accept connections");
            }
            writeln_at(log, 1000, "INFO ending");
        });
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert_eq!(lines[1], "the line above came 999 more times");
        assert!(lines[2].ends_with("INFO ending"));
    }

    #[test]
    fn it_stays_within_its_bound_and_keeps_what_came_last() {
        let text = written("bound", |log| {
            for second in 0..30_000 {
                writeln_at(log, second, &format!("WARN number {second}, and some more words to fill the line with"));
            }
        });
        assert!(text.len() as u64 <= MOST, "{} bytes", text.len());
        assert!(text.trim_end().ends_with("number 29999, and some more words to fill the line with"));
    }

    fn writeln_at(log: &mut Log, second: u64, words: &str) {
        let line = format!("2026-11-27T04:30:02.{second:06}Z  {words}\n");
        log.write_all(line.as_bytes()).expect("to write");
    }
}
