//! `minato doctor`: checks with evidence and fixes.

use anstyle::{AnsiColor, Style};
use minato_host::check::{Check, CheckState};

use super::{Look, printable};

/// One line for each check, its fix below it, and a verdict.
pub(crate) fn checks(checks: &[Check], look: &Look) -> String {
    check_lines(checks, look) + verdict(checks)
}

/// One line for each check, its fix below it.
pub(crate) fn check_lines(checks: &[Check], look: &Look) -> String {
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for check in checks {
        let (mark, colour) = match check.state {
            CheckState::Ok => ('✓', AnsiColor::Green),
            CheckState::Warn => ('!', AnsiColor::Yellow),
            CheckState::Fail => ('✗', AnsiColor::Red),
        };
        let style = if look.colour { colour.on_default() } else { Style::new() };
        text += &format!("{style}{mark}{style:#} {:width$}  {}\n", check.name, printable(&check.evidence));
        if let Some(fix) = &check.fix {
            text += &format!("  {:width$}  FIX  {}\n", "", printable(fix));
        }
    }
    text
}

fn verdict(checks: &[Check]) -> &'static str {
    match checks.iter().map(|check| check.state).max() {
        Some(CheckState::Fail) => "minato can't work here until what is marked ✗ is mended.\n",
        Some(CheckState::Warn) => "minato works here, with the limits marked '!'.\n",
        _ => "minato works here.\n",
    }
}
