//! A program that a test has started.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{SOON, wait_for};

/// A running program, whose output goes to files. Killed when dropped.
pub(crate) struct Program {
    child: Child,
    shown: String,
    log: PathBuf,
}

/// A program that has ended.
pub(crate) struct Finished {
    pub(crate) shown: String,
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Program {
    pub(crate) fn start(command: &mut Command) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
        let shown = words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        let log = PathBuf::from(format!("/run/log/{:03}", COUNT.fetch_add(1, Ordering::Relaxed)));
        let output = |extension| File::create(log.with_extension(extension)).expect("a log file");
        command.stdin(Stdio::null()).stdout(output("out")).stderr(output("err"));
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {shown}: {error}"));
        Self { child, shown, log }
    }

    pub(crate) fn stdout_path(&self) -> PathBuf {
        self.log.with_extension("out")
    }

    pub(crate) fn stderr_path(&self) -> PathBuf {
        self.log.with_extension("err")
    }

    /// What it has written to stdout so far.
    pub(crate) fn stdout(&self) -> String {
        read(&self.stdout_path())
    }

    /// What it has written to stderr so far.
    pub(crate) fn stderr(&self) -> String {
        read(&self.stderr_path())
    }

    /// Its process ID.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process ID");
        let _ = kill_process(pid, signal);
    }

    /// Whether it has not ended.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("its state").is_none()
    }

    /// Waits for its end.
    pub(crate) fn finish(self) -> Finished {
        self.finish_within(SOON)
    }

    /// Waits for its end, and panics if it takes longer.
    pub(crate) fn finish_within(mut self, patience: Duration) -> Finished {
        let what = format!("the end of {}", self.shown);
        let status = wait_for(&what, patience, || self.child.try_wait().expect("its state"));
        Finished { shown: self.shown.clone(), status, stdout: self.stdout(), stderr: self.stderr() }
    }

    /// SIGTERM, then waits for its end.
    pub(crate) fn stop(self) -> Finished {
        self.signal(Signal::TERM);
        self.finish()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Finished {
    /// Panics, with what it wrote, unless it ended with this exit code.
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{}\nstdout: {}\nstderr: {}", self.shown, self.stdout, self.stderr);
        self
    }

    /// Panics, with what it wrote, unless it ended well.
    pub(crate) fn expect_success(self) -> Self {
        self.expect_code(0)
    }

    /// Panics unless stderr contains each of `parts`.
    pub(crate) fn expect_stderr(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.stderr.contains(part), "{}: no {part:?} in stderr: {}", self.shown, self.stderr);
        }
        self
    }
}

fn read(path: &PathBuf) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
