//! `minato doctor`: what minato needs from this machine.

use minato_host::check::{self, Check, CheckState};

use super::DONE;
use crate::failure::code;
use crate::render;
use crate::terminal::Terminal;

/// Checks everything and shows it.
pub(super) fn doctor(terminal: &Terminal) -> u8 {
    let checks = check::all();
    let json: Vec<_> = checks.iter().map(as_json).collect();
    terminal.view("checks", &json, |look| render::checks(&checks, look));
    if checks.iter().any(|check| check.state == CheckState::Fail) { code::UNSUPPORTED } else { DONE }
}

fn as_json(check: &Check) -> serde_json::Value {
    let state = match check.state {
        CheckState::Ok => "ok",
        CheckState::Warn => "warn",
        CheckState::Fail => "fail",
    };
    serde_json::json!({ "name": check.name, "state": state, "evidence": check.evidence, "fix": check.fix })
}
