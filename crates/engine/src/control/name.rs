//! Names of hosts and networks: RFC 1123 labels.

use minato_inspect::{Problem, ProblemKind};

use crate::problem::{problem, with_fix};

/// Longest label (RFC 1035 §2.3.4).
const MAX_LENGTH: usize = 63;

/// Whether this is a label: lower-case letters, digits and hyphens, and no hyphen at either end.
fn is_label(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=MAX_LENGTH).contains(&name.len())
        && name.bytes().all(allowed)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// Names that are no host's: the gateway's own, and the one that means each host itself.
pub const RESERVED: [&str; 2] = ["gateway", "localhost"];

/// Refuses what can't be the name of a host.
pub(crate) fn check_host(name: &str) -> Result<(), Problem> {
    check("host", name)?;
    if !RESERVED.contains(&name) {
        return Ok(());
    }
    let refusal =
        problem(ProblemKind::Usage, format!("{name:?} can't be the name of a host: in the network it has a meaning"));
    Err(with_fix(refusal, "give the host another --name"))
}

/// Refuses what is not a label. `what` is "host" or "network".
pub(crate) fn check(what: &str, name: &str) -> Result<(), Problem> {
    if is_label(name) {
        return Ok(());
    }
    let refusal = problem(ProblemKind::Usage, format!("{name:?} can't be the name of a {what}"));
    Err(with_fix(refusal, format!("use a to z, 0 to 9 and inner hyphens, at most {MAX_LENGTH} characters")))
}

/// A name for a host that runs `command`, which `taken` does not have yet: `apache2`, then `apache2-2`, …
pub(crate) fn derive(command: &[String], taken: impl Fn(&str) -> bool) -> String {
    let program = command.first().map_or("", |path| path.rsplit('/').next().unwrap_or_default());
    let replaced: String = program
        .to_ascii_lowercase()
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' })
        .collect();
    // Room is left for the number.
    let cut: String = replaced.trim_matches('-').chars().take(MAX_LENGTH - 8).collect();
    let stem = match cut.trim_end_matches('-') {
        "" => "host",
        stem => stem,
    };
    let taken = |name: &str| RESERVED.contains(&name) || taken(name);
    if !taken(stem) {
        return stem.to_owned();
    }
    let numbered = (2u32..).map(|number| format!("{stem}-{number}"));
    numbered.into_iter().find(|name| !taken(name)).unwrap_or_else(|| stem.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        let longest = "a".repeat(63);
        for good in ["web", "a", "0", "my-host-2", longest.as_str()] {
            assert!(is_label(good), "{good}");
        }
        let too_long = "a".repeat(64);
        for bad in ["", "-a", "a-", "Web", "a_b", "a.b", "../../etc", "ä", too_long.as_str()] {
            assert!(!is_label(bad), "{bad}");
        }
    }

    #[test]
    fn some_names_mean_something_else() {
        assert!(check_host("web").is_ok());
        assert!(check_host("gateway").is_err() && check_host("localhost").is_err() && check_host("").is_err());
    }

    #[test]
    fn names_are_derived_from_the_program() {
        let name = |program: &str, taken: &[&str]| derive(&[program.to_owned()], |name| taken.contains(&name));
        assert_eq!(name("/usr/sbin/apache2", &[]), "apache2");
        assert_eq!(name("apache2", &["apache2", "apache2-2"]), "apache2-3");
        assert_eq!(name("/opt/My Server_1.2", &[]), "my-server-1-2");
        assert_eq!(name("---", &[]), "host");
        assert_eq!(name("gateway", &[]), "gateway-2");
        assert_eq!(derive(&[], |_| false), "host");
        let long = name(&"x".repeat(100), &[]);
        assert!(is_label(&long));
        assert!(is_label(&name(&"x".repeat(100), &[&long])));
    }
}
