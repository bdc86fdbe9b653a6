//! What the commands print that measure a machine: facts, bounded, or refused.

#![cfg_attr(feature = "libfuzzer", no_main)]

use berth_provisioner::untrusted;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(facts) = untrusted::facts(text) else {
        return;
    };
    assert!(facts.cpu_model.chars().count() <= 128 && facts.cpu_flags.len() <= 1024);
    assert!(facts.nics.len() <= 64 && facts.disks.len() <= 64);
});

#[cfg(not(feature = "libfuzzer"))]
fn main() {}
