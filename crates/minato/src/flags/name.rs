use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Name of a network or a host: a label as host names have it (RFC 1123 §2.1), in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Name(String);

/// Longest label (RFC 1035 §2.3.4).
const LONGEST: usize = 63;

impl Name {
    /// The label.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The network of those who name none.
impl Default for Name {
    fn default() -> Name {
        Name("default".to_owned())
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Name, String> {
        if text.is_empty() {
            return Err("a name can't be empty".into());
        }
        if let Some(wrong) = text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
            return Err(format!("{wrong:?} can't be part of a name; it has only a-z, 0-9 and '-'"));
        }
        if text.starts_with('-') || text.ends_with('-') {
            return Err("a name can't begin or end with '-'".into());
        }
        if text.len() > LONGEST {
            return Err(format!("a name has at most {LONGEST} characters, this one has {}", text.len()));
        }
        Ok(Name(text.to_owned()))
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Name, String> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
