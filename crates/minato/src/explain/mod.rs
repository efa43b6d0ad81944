//! `minato explain`: the way of a connection, hop by hop, where it breaks, and what mends it.
//!
//! Three steps: [`facts`] asks engine, kernel and network what is so, [`diagnose`] draws conclusions from it without
//! looking anywhere, and the result is shown. What could not be seen is "unknown" and never guessed.

mod diagnose;
mod exhaustion;
mod facts;
mod firewall;
mod probe;
mod target;
mod tls;

use serde::Serialize;

use crate::client::Client;
use crate::failure::{Failure, code};
use crate::flags::Name;
use crate::render;
use crate::terminal::Terminal;

pub(crate) use firewall::answer as filter;
pub(crate) use probe::{probe, resolve};
pub(crate) use target::{Place, Target};

/// Explains why a target can be reached, or why not.
pub(crate) async fn explain(
    target: &Target,
    from: Option<&Name>,
    client: &Client,
    terminal: &Terminal,
) -> Result<u8, Failure> {
    let facts = facts::gather(target, from, client).await?;
    let explanation = diagnose::diagnose(target, &facts);
    terminal.view("explanation", &explanation, |look| render::explanation(&explanation, look));
    Ok(explanation.code)
}

/// What was found on the way to a target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Explanation {
    /// The target as it was written.
    pub(crate) target: String,
    /// The exit code: 0 when the target can be reached.
    pub(crate) code: u8,
    /// The stations of the way, from the client to the service.
    pub(crate) hops: Vec<Hop>,
    /// Why it breaks, in one sentence; none when it does not.
    pub(crate) why: Option<String>,
    /// What mends it, the best last.
    pub(crate) fixes: Vec<String>,
}

/// A station.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Hop {
    /// How it is.
    pub(crate) state: HopState,
    /// What it is, in a word or two.
    pub(crate) name: &'static str,
    /// What was seen.
    pub(crate) evidence: String,
}

/// How a station is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum HopState {
    /// As it must be.
    Good,
    /// It works, but not for everybody.
    Odd,
    /// The way breaks here.
    Broken,
    /// It can't be seen.
    Unknown,
}

impl Explanation {
    /// Nothing found yet.
    fn of(target: &Target) -> Explanation {
        Explanation { target: target.text.clone(), code: 0, hops: Vec::new(), why: None, fixes: Vec::new() }
    }

    fn hop(&mut self, state: HopState, name: &'static str, evidence: impl Into<String>) {
        self.hops.push(Hop { state, name, evidence: evidence.into() });
    }

    /// Names the reason. The first one counts: what breaks behind it may be its consequence.
    fn because(&mut self, code: u8, why: impl Into<String>, fixes: impl IntoIterator<Item = String>) {
        if self.why.is_none() {
            self.code = code;
            self.why = Some(why.into());
            self.fixes = fixes.into_iter().collect();
        }
    }

    fn is_explained(&self) -> bool {
        self.why.is_some()
    }
}

/// Exit code of a way that breaks for a reason that can't be seen.
const UNKNOWN: u8 = code::FAILED;

#[cfg(test)]
mod tests;
