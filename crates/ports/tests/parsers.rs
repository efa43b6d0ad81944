//! The parsers on arbitrary text, as the fuzz target has them.

mod text;

use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]
    #[test]
    fn any_text_is_read_or_pointed_at(typed in ".{0,40}") {
        text::check(&typed);
    }

    #[test]
    fn text_that_looks_like_a_rule_is_read_or_pointed_at(
        typed in r"(\*\.?|dns|[a-z0-9._-]{0,9}|([0-9]{1,3}\.){3}[0-9]{1,3}|\[[0-9a-f:.]{0,9}\])(/[0-9]{0,3})?(:[0-9-]{0,6})?(/tcp|/udp)?"
    ) {
        text::check(&typed);
    }

    #[test]
    fn text_that_looks_right_is_read_or_pointed_at(typed in r"[\[\]0-9a-f:./+tcpudhsポ -]{0,40}") {
        text::check(&typed);
    }
}
