//! Single values: what each kind may hold, and what is said when it holds something else.

use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use minato_engine::FixedSubnet;
use minato_inspect::PolicyDefault;
use toml::de::{DeInteger, DeValue};

use super::{Reader, Table, Value};
use crate::file::plan::Restart;
use crate::file::ports::PortKey;
use crate::file::problem::{At, Problem};
use crate::flags::{Name, argument};

/// Longest time that programs can be given to end.
const LONGEST_STOP: u64 = 3600;

/// Longest range of ports that is waited for.
const MOST_READY: u16 = 1000;

/// What a shell would take for itself, and a program is handed as an argument.
const SHELL_WORDS: &[&str] = &["|", "||", "&", "&&", ";", "<", ">", ">>", "2>", "2>&1"];

/// An integer in decimal, however it is written: TOML has 0x1F90, 0o17620 and 0b101 too.
pub(super) fn decimal(number: &DeInteger<'_>) -> String {
    let value = i128::from_str_radix(number.as_str(), number.radix());
    // One that no number of ours could be is refused as whatever it stands for.
    value.map_or_else(|_| number.to_string(), |value| value.to_string())
}

/// An integer that such a number can be.
fn integer<T: FromStr>(value: &Value<'_>) -> Option<T> {
    decimal(value.get_ref().as_integer()?).parse().ok()
}

impl Reader<'_> {
    pub(super) fn table<'v, 't>(&mut self, value: &'v Value<'t>, what: &str) -> Option<&'v Table<'t>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.expected(value, what);
        }
        table
    }

    pub(super) fn text(&mut self, value: &Value<'_>) -> Option<At<String>> {
        match value.get_ref().as_str() {
            Some(text) if !text.contains('\0') => Some(self.at(text.to_owned(), value.span())),
            Some(_) => {
                self.problem("a NUL can't be here", value.span(), "this text has one");
                None
            }
            None => {
                self.expected(value, "a string");
                None
            }
        }
    }

    pub(super) fn texts(&mut self, value: &Value<'_>) -> Option<Vec<At<String>>> {
        self.list(value, "a list of strings", Reader::text)
    }

    pub(super) fn text_or_texts(&mut self, value: &Value<'_>) -> Option<Vec<At<String>>> {
        if value.get_ref().is_array() { self.texts(value) } else { self.text(value).map(|text| vec![text]) }
    }

    pub(super) fn truth(&mut self, value: &Value<'_>) -> Option<At<bool>> {
        let truth = value.get_ref().as_bool();
        if truth.is_none() {
            self.expected(value, "true or false");
        }
        truth.map(|truth| self.at(truth, value.span()))
    }

    pub(super) fn name(&mut self, value: &Value<'_>) -> Option<At<Name>> {
        let text = self.text(value)?;
        self.name_of(&text.value, value.span())
    }

    pub(super) fn name_of(&mut self, text: &str, span: Range<usize>) -> Option<At<Name>> {
        match text.parse() {
            Ok(name) => Some(self.at(name, span)),
            Err(why) => {
                let why: String = why;
                self.problem(format!("'{text}' can't be a name"), span, &why);
                None
            }
        }
    }

    pub(super) fn names(&mut self, value: &Value<'_>) -> Option<Vec<At<Name>>> {
        self.list(value, "a list of names", Reader::name)
    }

    pub(super) fn port_numbers(&mut self, value: &Value<'_>) -> Option<Vec<At<u16>>> {
        self.list(value, "a list of ports", |reader, value| {
            let port = integer(value);
            match port {
                Some(port) if port != 0 => Some(reader.at(port, value.span())),
                _ => {
                    reader.expected(value, "a port, 1 to 65535");
                    None
                }
            }
        })
    }

    /// A list of words, or a string that is split into words.
    pub(super) fn command(&mut self, value: &Value<'_>) -> Option<At<Vec<String>>> {
        let words = match value.get_ref() {
            DeValue::Array(_) => self.texts(value)?.into_iter().map(|word| word.value).collect(),
            DeValue::String(_) => {
                let text = self.text(value)?.value;
                let words: Vec<String> = match shell_words::split(&text) {
                    Ok(words) => words,
                    Err(_) => {
                        self.problem("a quote is not closed in this command", value.span(), "here");
                        return None;
                    }
                };
                if let Some(word) = words.iter().find(|word| SHELL_WORDS.contains(&word.as_str())) {
                    let place = self.place(value.span());
                    let message = format!("no shell reads this command: '{word}' would be an argument");
                    let shell = "for a shell: [\"sh\", \"-c\", \"…\"]; to mean it: a list of words";
                    self.problems.push(Problem::new(message, place, "only split into words").help(shell));
                    return None;
                }
                words
            }
            _ => {
                self.expected(value, "a command: a string, or a list of words");
                return None;
            }
        };
        if words.first().is_none_or(String::is_empty) {
            self.problem("this command names no program", value.span(), "here");
            return None;
        }
        Some(self.at(words, value.span()))
    }

    pub(super) fn restart(&mut self, value: &Value<'_>) -> Option<At<Restart>> {
        const WORDS: [(&str, Restart); 3] =
            [("no", Restart::No), ("on-failure", Restart::OnFailure), ("always", Restart::Always)];
        self.word(value, &WORDS, "\"no\", \"on-failure\" or \"always\"")
    }

    /// What happens to what no rule names.
    pub(super) fn policy(&mut self, value: &Value<'_>) -> Option<At<PolicyDefault>> {
        self.word(value, &[("open", PolicyDefault::Open), ("deny", PolicyDefault::Deny)], "\"open\" or \"deny\"")
    }

    /// Ports to wait for; none for `false`.
    pub(super) fn ready(&mut self, value: &Value<'_>) -> Option<Vec<At<PortKey>>> {
        match value.get_ref() {
            DeValue::Boolean(false) => Some(Vec::new()),
            DeValue::Array(list) => list.iter().map(|one| self.ready_port(one)).collect(),
            _ => self.ready_port(value).map(|port| vec![port]),
        }
    }

    fn ready_port(&mut self, value: &Value<'_>) -> Option<At<PortKey>> {
        let text = match value.get_ref() {
            DeValue::Integer(number) => &decimal(number),
            DeValue::String(text) => text.as_ref(),
            _ => {
                self.expected(value, "a port such as 80 or \"53/udp\", a list of them, or false");
                return None;
            }
        };
        match PortKey::parse(text) {
            Ok(port) if port.last - port.first >= MOST_READY => {
                let why = format!("at most {MOST_READY} of one range are waited for");
                self.problem(format!("'{text}' are too many ports"), value.span(), &why);
                None
            }
            Ok(port) => Some(self.at(port, value.span())),
            Err(why) => {
                self.problem(format!("'{text}' names no port"), value.span(), &why);
                None
            }
        }
    }

    pub(super) fn ephemeral_range(&mut self, value: &Value<'_>) -> Option<At<(u16, u16)>> {
        let text = self.text(value)?;
        match argument::range(&text.value) {
            Ok(range) => Some(self.at(argument::bounds(range), value.span())),
            Err(why) => {
                self.problem(format!("'{}' is no range of ports", text.value), value.span(), &why.to_string());
                None
            }
        }
    }

    pub(super) fn subnet(&mut self, value: &Value<'_>) -> Option<At<FixedSubnet>> {
        let text = self.text(value)?;
        match text.value.parse::<FixedSubnet>() {
            Ok(subnet) => Some(self.at(subnet, value.span())),
            Err(why) => {
                self.problem(format!("'{}' can't be the subnet", text.value), value.span(), &why.to_string());
                None
            }
        }
    }

    pub(super) fn stop_timeout(&mut self, value: &Value<'_>) -> Option<At<Duration>> {
        match integer::<u64>(value) {
            Some(seconds) if seconds <= LONGEST_STOP => Some(self.at(Duration::from_secs(seconds), value.span())),
            _ => {
                self.expected(value, &format!("seconds, 0 to {LONGEST_STOP}"));
                None
            }
        }
    }

    fn word<T: Copy>(&mut self, value: &Value<'_>, words: &[(&str, T)], expected: &str) -> Option<At<T>> {
        let text = value.get_ref().as_str();
        let Some((_, meaning)) = words.iter().find(|(word, _)| Some(*word) == text) else {
            self.problem(format!("expected {expected}"), value.span(), "this is something else");
            return None;
        };
        Some(self.at(*meaning, value.span()))
    }

    fn list<T>(
        &mut self,
        value: &Value<'_>,
        what: &str,
        read: impl Fn(&mut Self, &Value<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Some(list) = value.get_ref().as_array() else {
            self.expected(value, what);
            return None;
        };
        // Everything that is wrong is told, not only the first.
        let all: Vec<Option<T>> = list.iter().map(|one| read(self, one)).collect();
        all.into_iter().collect()
    }
}
