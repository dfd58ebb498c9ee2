//! The fuzz body over any bytes that begin as a header does.

use proptest::prelude::*;
use sekisho_peek::fuzz;

use crate::craft::{SIGNATURE, V4, v2, value};

proptest! {
    #[test]
    fn any_line(line in "PROXY (TCP4|TCP6|UNKNOWN|)[ -~]{0,110}\r?\n?") {
        fuzz::proxy(line.as_bytes());
    }

    #[test]
    fn any_binary(rest in proptest::collection::vec(any::<u8>(), 0..80)) {
        fuzz::proxy(&[SIGNATURE, &rest].concat());
    }

    #[test]
    fn any_values(
        values in proptest::collection::vec((prop_oneof![Just(3_u8), Just(0xea), any::<u8>()],
            prop_oneof![Just(b"\x01vpce-1".to_vec()), proptest::collection::vec(any::<u8>(), 0..8)]), 0..5),
        cut in 0_usize..100,
    ) {
        let values: Vec<u8> = values.iter().flat_map(|(kind, inside)| value(*kind, inside)).collect();
        let whole = v2(0x21, 0x11, &[V4, &values].concat());
        fuzz::proxy(&whole);
        fuzz::proxy(&whole[..cut.min(whole.len())]);
    }
}
