//! Views for snapshots: at both widths that a terminal is likely to have, and without a trace of colour.
//!
//! Tables fit the terminal. Sentences, a program's lines and what is meant to be copied are never cut: the terminal wraps
//! them, and gives them whole to whoever selects them.

use super::Look;

const WIDTHS: [usize; 2] = [80, 120];

/// A table at both widths, no line wider than the terminal.
pub(crate) fn at_widths(view: impl Fn(&Look) -> String) -> String {
    let shown = |width: usize| {
        let text = plain(view(&Look { colour: false, width: Some(width) }));
        for line in text.lines() {
            assert!(line.chars().count() <= width, "wider than {width}: {line}");
        }
        format!("--- {width} columns\n{text}")
    };
    WIDTHS.map(shown).concat()
}

/// What is never cut: the same at both widths.
pub(crate) fn whole(view: impl Fn(&Look) -> String) -> String {
    let [narrow, wide] = WIDTHS.map(|width| plain(view(&Look { colour: false, width: Some(width) })));
    assert_eq!(narrow, wide, "something is cut");
    narrow
}

fn plain(text: String) -> String {
    assert!(!text.contains('\u{1b}'), "an escape sequence: {text:?}");
    text
}
