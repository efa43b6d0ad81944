//! Making [`Problem`]s.

use std::io::ErrorKind;
use std::path::Path;

use minato_inspect::{Problem, ProblemKind};

/// A problem of this kind, with the HTTP status that goes with it.
pub(crate) fn problem(kind: ProblemKind, title: impl Into<String>) -> Problem {
    let status = match kind {
        ProblemKind::Usage => 400,
        ProblemKind::Privileged => 403,
        ProblemKind::NotFound => 404,
        ProblemKind::Conflict => 409,
        ProblemKind::WrongAddress => 422,
        ProblemKind::Internal => 500,
        ProblemKind::Unsupported => 501,
        ProblemKind::Exhausted => 507,
    };
    Problem { kind, status, title: title.into(), holder: None, fixes: Vec::new() }
}

/// The engine is ending and takes no more requests; whoever wants another one tries again.
pub(crate) fn ending() -> Problem {
    Problem { status: 503, ..problem(ProblemKind::Internal, "the engine is ending") }
}

/// Something that should not happen.
pub(crate) fn internal(error: impl std::fmt::Display) -> Problem {
    problem(ProblemKind::Internal, format!("the engine failed: {error}"))
}

/// The network's directory, or a file in it, can't be written.
pub(crate) fn unwritable(path: &Path, error: &std::io::Error) -> Problem {
    let directory = path.parent().unwrap_or(path).display();
    let refusal = problem(ProblemKind::Internal, format!("the engine can't write {}: {error}", path.display()));
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => with_fix(
            with_fix(refusal, "export XDG_RUNTIME_DIR=DIR    # a directory of your own with room in it, mode 0700"),
            format!("df -h {directory}    # make room there"),
        ),
        _ => refusal,
    }
}

/// Adds a line that tells what to do. The last one added is the most important one.
pub(crate) fn with_fix(mut problem: Problem, fix: impl Into<String>) -> Problem {
    problem.fixes.push(fix.into());
    problem
}
