//! An EIP-3076 file: read or refused, and what was read comes back from what is
//! written of it.

#![cfg_attr(feature = "libfuzzer", no_main)]
#![expect(clippy::expect_used, reason = "what cannot be is what is looked for")]

use berth_signer::domain::{Root, interchange};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let root = Root([0; 32]);
    let Ok(watermarks) = interchange::parse(text, root) else {
        return;
    };
    let written = interchange::minified(root, &watermarks).expect("it can be written");
    let again = interchange::parse(&written, root).expect("it can be read again");
    assert_eq!(again, watermarks);
});

#[cfg(not(feature = "libfuzzer"))]
fn main() {}
