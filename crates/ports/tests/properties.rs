//! The port table against a naive model of the same rules.

mod operations;

use operations::{OP_BYTES, Op, check_against_naive};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn verdicts_and_contents_equal_the_naive_models(bytes in prop::collection::vec(any::<[u8; OP_BYTES]>(), 1..80)) {
        let ops: Vec<_> = bytes.into_iter().map(Op::decode).collect();
        check_against_naive(&ops);
    }
}
