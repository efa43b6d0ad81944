//! `minato service`: entries of the registry.

use super::table::{Cell, Column, Table, Tone};
use super::{Look, NONE};
use crate::commands::Entry;

/// The table of entries.
pub(crate) fn services(entries: &[Entry], look: &Look) -> String {
    let mut table = Table::new([
        Column::fixed("PORT"),
        Column::shrinks("REGISTERED", 14),
        Column::fixed("FOR"),
        Column::fixed("CLASS"),
        Column::shrinks("DESCRIPTION", 20),
    ]);
    for entry in entries {
        let port =
            if entry.first == entry.last { entry.first.to_string() } else { format!("{}-{}", entry.first, entry.last) };
        let tone = if entry.name.is_some() { Tone::Plain } else { Tone::Faint };
        table.row([
            port.into(),
            entry.name.unwrap_or(NONE).into(),
            entry.protocols.join(",").into(),
            entry.class.clone().into(),
            Cell::new(entry.description.clone(), tone),
        ]);
    }
    table.render(look)
}
