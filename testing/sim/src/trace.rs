//! What happened to each frame, as text.

use std::time::Duration;

/// Where the lines go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trace {
    /// Nowhere.
    #[default]
    Off,
    /// To standard error, which the test runner shows with a failed test.
    Stderr,
    /// Into memory, for tests that look at it.
    Lines(Vec<String>),
}

impl Trace {
    /// Standard error if the environment has `MINATO_SIM_TRACE`, otherwise off.
    #[must_use]
    pub fn from_environment() -> Trace {
        if std::env::var_os("MINATO_SIM_TRACE").is_some() { Trace::Stderr } else { Trace::Off }
    }

    /// Adds a line, which is only made if somebody wants it.
    pub(crate) fn add(&mut self, now: Duration, line: impl FnOnce() -> String) {
        match self {
            Trace::Off => {}
            Trace::Stderr => eprintln!("{:>12.6} {}", now.as_secs_f64(), line()),
            Trace::Lines(lines) => lines.push(format!("{:>12.6} {}", now.as_secs_f64(), line())),
        }
    }
}
