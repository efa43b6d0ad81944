//! `minato explain`: stations of a way, and what is wrong with it.

use anstyle::{AnsiColor, Style};

use super::{Look, printable};
use crate::explain::{Explanation, HopState};

/// A line for each station, then why it breaks and what mends it.
pub(crate) fn explanation(explanation: &Explanation, look: &Look) -> String {
    let first_failure = explanation.hops.iter().position(|hop| hop.state == HopState::Broken);
    let mut text = String::new();
    for (index, hop) in explanation.hops.iter().enumerate() {
        let (mark, colour) = match hop.state {
            HopState::Good => ('✓', AnsiColor::Green),
            HopState::Odd => ('!', AnsiColor::Yellow),
            HopState::Broken => ('✗', AnsiColor::Red),
            HopState::Unknown => ('?', AnsiColor::Yellow),
        };
        let style = if look.colour { colour.on_default() } else { Style::new() };
        let note = if Some(index) == first_failure && explanation.why.is_some() { "    ← first failure" } else { "" };
        text += &format!("{style}{mark}{style:#} {:<8} {}{note}\n", hop.name, printable(&hop.evidence));
    }
    match &explanation.why {
        Some(why) => text += &format!("WHY  {}\n", printable(why)),
        None if explanation.hops.iter().any(|hop| hop.state == HopState::Unknown) => {
            text += "As far as can be seen, it can be reached.\n";
        }
        None => text += "It can be reached.\n",
    }
    explanation.fixes.iter().for_each(|fix| text += &format!("FIX  {}\n", printable(fix)));
    text
}
