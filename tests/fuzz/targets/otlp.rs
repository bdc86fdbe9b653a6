//! An export of metrics: no export, or points within the limits.

#![cfg_attr(feature = "libfuzzer", no_main)]

use berth_monitoring::otlp;
use chrono::DateTime;
use libfuzzer_sys::fuzz_target;
use std::time::Duration;

fuzz_target!(|bytes: &[u8]| {
    let now = DateTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let Ok((points, rejected)) = otlp::read(bytes, now) else {
        return;
    };
    assert!(points.len() <= 5000 && rejected >= 0);
    for point in &points {
        assert!(point.value.is_finite() && point.time <= now);
        assert!(!point.name.is_empty() && point.name.len() <= 128 && point.unit.len() <= 128);
        assert!(point.labels.len() <= 16 * 258, "{}", point.labels.len());
    }
});

#[cfg(not(feature = "libfuzzer"))]
fn main() {}
