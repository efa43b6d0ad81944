use std::fmt;

use super::super::{Fault, ParseErrorKind, Part};

/// Longest label and longest name (RFC 1035 §2.3.4), the latter as it is written.
const MAX_LABEL: usize = 63;
const MAX_NAME: usize = 253;

/// A domain name, or every name below one: `example.com`, `*.example.com` (at any depth, and not `example.com` itself), `*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NamePattern {
    /// In lower case, as they are written: the top-level domain last.
    labels: Vec<Box<str>>,
    /// Names below that one, and not itself.
    below: bool,
}

impl NamePattern {
    /// Whether the name with these labels, in whatever case, is one of them. Labels and not a text, since a label may hold
    /// any byte, a dot too.
    pub fn matches(&self, labels: &[&[u8]]) -> bool {
        let Some(more) = labels.len().checked_sub(self.labels.len()) else { return false };
        let mut pairs = self.labels.iter().zip(&labels[more..]);
        (more > 0) == self.below && pairs.all(|(own, label)| own.as_bytes().eq_ignore_ascii_case(label))
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = self.below.then_some("*");
        f.write_str(&star.into_iter().chain(self.labels.iter().map(|label| &**label)).collect::<Vec<_>>().join("."))
    }
}

impl Part<'_> {
    pub(super) fn name_pattern(self) -> Result<NamePattern, Fault> {
        if !self.text.is_ascii() {
            return Err(self.fault(ParseErrorKind::NotAscii));
        }
        let name = self.text.strip_suffix('.').unwrap_or(self.text);
        let (below, name) = match name.strip_prefix('*') {
            None => (false, name),
            Some("") => return Ok(NamePattern { labels: Vec::new(), below: true }),
            Some(rest) => (true, rest.strip_prefix('.').ok_or_else(|| self.fault(ParseErrorKind::Wildcard))?),
        };
        if name.contains('*') {
            return Err(self.fault(ParseErrorKind::Wildcard));
        }
        if name.len() > MAX_NAME || !name.split('.').all(is_label) {
            return Err(self.fault(ParseErrorKind::NotAName));
        }
        Ok(NamePattern { labels: name.split('.').map(|label| label.to_ascii_lowercase().into()).collect(), below })
    }
}

/// Letters, digits, hyphens, and the underscore that names of services begin with (RFC 8552).
fn is_label(label: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=MAX_LABEL).contains(&label.len()) && label.bytes().all(allowed)
}
