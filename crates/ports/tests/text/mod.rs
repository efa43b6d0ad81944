//! What must hold of every text that a parser is given. The property test and the fuzz target share it.

use std::fmt::Display;
use std::str::FromStr;

use minato_ports::{EgressRule, ForwardArgument, ParseError, Port, PortArgument, PortRange, Transport};

/// Gives the text to every parser.
pub(crate) fn check(typed: &str) {
    check_as::<Port>(typed);
    check_as::<PortRange>(typed);
    check_as::<Transport>(typed);
    check_as::<PortArgument>(typed);
    check_as::<ForwardArgument>(typed);
    check_as::<EgressRule>(typed);
}

fn check_as<T: FromStr<Err = ParseError> + Display + PartialEq>(typed: &str) {
    match typed.parse::<T>() {
        Ok(value) => assert!(value.to_string().parse::<T>().is_ok_and(|again| again == value), "{typed:?}"),
        Err(error) => {
            assert!(typed.get(error.span.clone()).is_some(), "{typed:?}: {error:?}");
            assert!(error.pointer().to_string().starts_with(typed));
            assert!(!error.to_string().is_empty());
        }
    }
}
