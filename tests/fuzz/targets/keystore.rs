//! An EIP-2335 keystore: read or refused. It is not opened here: that is what
//! its key derivation makes slow.

#![cfg_attr(feature = "libfuzzer", no_main)]

use berth_signer::domain::keystore::Keystore;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if Keystore::parse(text).is_ok() {
        assert!(text.len() <= 16 * 1024);
    }
});

#[cfg(not(feature = "libfuzzer"))]
fn main() {}
