//! `minato lease` as it is written.

use clap::Args;

pub(super) const LEASE_HELP: &str = "\
Examples:
  PORT=$(minato lease) && python3 -m http.server $PORT
  minato lease 3 --for my-tests
      the same three ports each time

From the moment they are printed until a server listens on each of them, nobody gets these TCP
ports by chance: not by asking for any port, not for an outgoing connection, and not by number
without SO_REUSEADDR. A server must set SO_REUSEADDR, as servers do; one that does not is refused
while the port is held.

Exit codes: 14 no ports are left; 16 a port of the key is in use.";

/// `minato lease`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Lease {
    /// How many.
    #[arg(value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) count: u16,
    /// Remember them: the same KEY gets the same ports again.
    #[arg(long = "for", value_name = "KEY", value_parser = key)]
    pub(crate) key: Option<String>,
    /// Hold them for so long when no server comes.
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = clap::value_parser!(u32).range(1..=86400))]
    pub(crate) within: u32,
}

/// A key is a file name too.
fn key(text: &str) -> Result<String, String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !text.is_empty() && text.len() <= 64 && text.chars().all(fine) {
        return Ok(text.to_owned());
    }
    Err("a key has 1 to 64 characters of a-z, A-Z, 0-9, - and _".into())
}
