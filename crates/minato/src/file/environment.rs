//! Env-files: a variable a line.

/// Reads `NAME=VALUE` lines. Empty lines and those that begin with `#` are skipped, `export ` before a name too; a value
/// in single or double quotes loses them, and nothing in it is expanded. `Err` names the line, from 1.
pub(super) fn read(text: &str) -> Result<Vec<(String, String)>, (usize, String)> {
    let mut variables = Vec::new();
    // Some editors begin a file with a mark of its encoding.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').ok_or_else(|| (index + 1, format!("'{line}' is not NAME=VALUE")))?;
        let name = name.strip_prefix("export ").unwrap_or(name).trim();
        check_name(name).map_err(|why| (index + 1, why))?;
        if value.contains('\0') {
            return Err((index + 1, format!("'{name}' can't hold a NUL")));
        }
        variables.push((name.to_owned(), unquoted(value.trim()).to_owned()));
    }
    Ok(variables)
}

/// Whether this can be the name of a variable.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.contains(|c: char| c == '=' || c == '\0' || c.is_whitespace()) {
        return Err(format!("'{name}' can't be the name of a variable"));
    }
    Ok(())
}

fn unquoted(value: &str) -> &str {
    let within = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    within('"').or_else(|| within('\'')).unwrap_or(value)
}
