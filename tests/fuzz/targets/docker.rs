//! What Docker says: a container that it describes, and frames of a log in parts.

#![cfg_attr(feature = "libfuzzer", no_main)]

use berth_provisioner::untrusted;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(seen) = untrusted::container(bytes) {
        assert!(seen.name.len() <= 512 && seen.component.len() <= 512 && seen.image.len() <= 512);
    }
    let parts: Vec<&[u8]> = bytes.chunks(13).collect();
    let lines = untrusted::log(&parts, 16);
    assert!(lines.iter().all(|line| line.text.len() <= 3 * 16));
    let whole = untrusted::log(&[bytes], 16);
    assert_eq!(lines, whole, "parts do not matter");
});

#[cfg(not(feature = "libfuzzer"))]
fn main() {}
