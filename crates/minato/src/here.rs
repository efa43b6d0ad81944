//! Which network a command is about: the one that `--network` names, or else `MINATO_NETWORK`, or else, for a command about what
//! runs, the one of this directory's minato.toml while that runs, or else `default`.
//!
//! What begins a network does not follow the file: whoever starts a program by hand may not want it among those of `minato up`. Nor
//! does it follow the variable inside of a host, where that names the network that the host is in: it begins one of its own there.

use std::ffi::OsString;

use crate::client::runs;
use crate::failure::Failure;
use crate::file::Choice;
use crate::flags::Name;
use crate::program;
use crate::runtime_dir::RuntimeDir;
use crate::terminal::Terminal;

/// What names the network of those who name none themselves, as for the programs of a host.
pub(crate) const VARIABLE: &str = "MINATO_NETWORK";

/// The network of a command that may begin it.
pub(crate) fn to_begin(flag: Option<Name>) -> Result<Name, Failure> {
    if flag.is_none() && std::env::var_os(program::HOST_VARIABLE).is_some() {
        return Ok(Name::default());
    }
    Ok(named(flag)?.unwrap_or_default())
}

/// The network of a command about what runs. That it is not `default`, which runs too and was not asked for, is told.
pub(crate) fn that_runs(flag: Option<Name>, terminal: &Terminal) -> Result<Name, Failure> {
    if let Some(named) = named(flag)? {
        return Ok(named);
    }
    let default = Name::default();
    let Some(network) = of_file()? else { return Ok(default) };
    if network != default && runs(&RuntimeDir::of(&default)) {
        terminal.warn(&format!(
            "this is about network '{network}', which minato.toml names; another one runs too: --network {default}"
        ));
    }
    Ok(network)
}

/// Whether a command without `--network` is about this one.
pub(crate) fn is_meant(network: &Name) -> bool {
    match named(None) {
        Ok(Some(named)) => named == *network,
        Ok(None) => of_file().is_ok_and(|of_file| of_file.unwrap_or_default() == *network),
        Err(_) => false,
    }
}

fn named(flag: Option<Name>) -> Result<Option<Name>, Failure> {
    if flag.is_some() {
        return Ok(flag);
    }
    of_variable(std::env::var_os(VARIABLE))
}

fn of_variable(value: Option<OsString>) -> Result<Option<Name>, Failure> {
    let Some(value) = value.filter(|value| !value.is_empty()) else { return Ok(None) };
    let value = value.to_string_lossy();
    let wrong = |why: String| {
        Failure::usage(format!("{VARIABLE}={value:?} names no network: {why}"))
            .fix(format!("unset {VARIABLE}"))
            .fix("--network NET goes before it")
    };
    value.parse().map(Some).map_err(wrong)
}

/// The network of this directory's file, if there is one and it runs. A file that doesn't say which (one is just being edited) must
/// not make a command work on `default` that was meant for the other. One that runs under the name of the file's directory is meant.
fn of_file() -> Result<Option<Name>, Failure> {
    let choice = Choice::default();
    if !choice.is_there() {
        return Ok(None);
    }
    let network = choice.network().ok().filter(|network| runs(&RuntimeDir::of(network)));
    let default = Name::default();
    if network.is_none() && !choice.names_network() && runs(&RuntimeDir::of(&default)) {
        let title = format!(
            "this may not be meant for network '{default}': minato.toml can't be read as far as the name of its own"
        );
        return Err(Failure::usage(title)
            .fix("minato check says what is wrong with the file")
            .fix(format!("--network {default}, or another one's name, goes before it")));
    }
    Ok(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_names_a_network_or_nothing_or_is_refused() {
        let of = |value: &str| of_variable(Some(value.into()));
        assert_eq!(of_variable(None), Ok(None));
        assert_eq!(of(""), Ok(None));
        assert_eq!(of("shop"), Ok(Some("shop".parse().expect("a name"))));
        let refused = of("../x").expect_err("no name");
        assert!(refused.title.contains("MINATO_NETWORK=\"../x\" names no network"), "{refused:?}");
    }
}
