//! Aligned columns that fit the terminal.
//!
//! A table has a header and rows of cells. Columns are as wide as their widest cell and two blanks apart. Where that is
//! wider than the terminal, columns that may shrink do so, the one with most to spare first, and cut their text with `…`.

use anstyle::{AnsiColor, Style};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::Look;

/// How important a cell looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As the rest.
    Plain,
    /// Works.
    Good,
    /// Deserves a look.
    Odd,
    /// Less important.
    Faint,
}

/// Text and its tone.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// Text in a tone.
    pub(crate) fn new(text: impl Into<String>, tone: Tone) -> Cell {
        Cell { text: text.into(), tone }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Cell {
        Cell::new(text, Tone::Plain)
    }
}

/// A column's heading and how narrow it may get.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    heading: &'static str,
    minimum: Option<usize>,
    right: bool,
}

impl Column {
    /// Always as wide as its widest cell.
    pub(crate) const fn fixed(heading: &'static str) -> Column {
        Column { heading, minimum: None, right: false }
    }

    /// Numbers: as wide as the widest, aligned to the right.
    pub(crate) const fn number(heading: &'static str) -> Column {
        Column { heading, minimum: None, right: true }
    }

    /// May be cut down to `minimum` columns.
    pub(crate) const fn shrinks(heading: &'static str, minimum: usize) -> Column {
        Column { heading, minimum: Some(minimum), right: false }
    }
}

/// Rows under headings.
#[derive(Clone, Debug)]
pub(crate) struct Table<const N: usize> {
    columns: [Column; N],
    rows: Vec<[Cell; N]>,
}

const GAP: usize = 2;

impl<const N: usize> Table<N> {
    /// A table without rows.
    pub(crate) fn new(columns: [Column; N]) -> Table<N> {
        Table { columns, rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: [Cell; N]) {
        self.rows.push(cells);
    }

    /// The table as text, a line each row.
    pub(crate) fn render(&self, look: &Look) -> String {
        let widths = self.widths(look.width);
        let heading = self.columns.map(|column| Cell::new(column.heading, Tone::Faint));
        let mut text = String::new();
        for row in std::iter::once(&heading).chain(&self.rows) {
            self.line(&mut text, row, &widths, look.colour);
        }
        text
    }

    fn line(&self, text: &mut String, row: &[Cell; N], widths: &[usize; N], colour: bool) {
        let start = text.len();
        for ((cell, column), width) in row.iter().zip(&self.columns).zip(widths) {
            let content = cut(&cell.text, *width);
            let blanks = " ".repeat(width - content.width());
            let style = if colour { style(cell.tone) } else { Style::new() };
            let styled = format!("{style}{content}{style:#}");
            *text += &if column.right { blanks + &styled } else { styled + &blanks };
            *text += &" ".repeat(GAP);
        }
        text.truncate(start + text[start..].trim_end().len());
        text.push('\n');
    }

    fn widths(&self, limit: Option<usize>) -> [usize; N] {
        let mut widths = std::array::from_fn(|index| {
            let cells = self.rows.iter().map(|row| row[index].text.width());
            cells.chain([self.columns[index].heading.width()]).max().unwrap_or_default()
        });
        let Some(limit) = limit else { return widths };
        let total = |widths: &[usize; N]| widths.iter().sum::<usize>() + GAP * (N - 1);
        while total(&widths) > limit {
            let spare =
                |index: usize| self.columns[index].minimum.map_or(0, |least| widths[index].saturating_sub(least));
            let Some(roomiest) = (0..N).filter(|index| spare(*index) > 0).max_by_key(|index| spare(*index)) else {
                break;
            };
            widths[roomiest] -= 1;
        }
        widths
    }
}

fn style(tone: Tone) -> Style {
    match tone {
        Tone::Plain => Style::new(),
        Tone::Good => AnsiColor::Green.on_default(),
        Tone::Odd => AnsiColor::Yellow.on_default(),
        Tone::Faint => Style::new().dimmed(),
    }
}

/// Text in at most `width` columns, cut with `…`.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut used = 1;
    let fits = |c: &char| {
        used += c.width().unwrap_or(0);
        used <= width
    };
    text.chars().take_while(fits).chain(['…']).collect()
}
