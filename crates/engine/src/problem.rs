//! Making [`Problem`]s.

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

/// Adds a line that tells what to do. The last one added is the most important one.
pub(crate) fn with_fix(mut problem: Problem, fix: impl Into<String>) -> Problem {
    problem.fixes.push(fix.into());
    problem
}
