//! A `chain.toml`: an entry or refused, with a line that the text has; and a digest
//! is pinned in an entry or not, without a panic.

#![cfg_attr(feature = "libfuzzer", no_main)]

use berth_provisioner::chain::{ChainEntry, pin};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match ChainEntry::parse(text) {
        Ok(entry) => {
            for component in &entry.components {
                let digest = format!("sha256:{}", "0".repeat(64));
                pin(text, &component.name, &digest).ok();
            }
        }
        Err(invalid) => assert!(!invalid.0.is_empty(), "it says what is wrong"),
    }
});

#[cfg(not(feature = "libfuzzer"))]
fn main() {}
