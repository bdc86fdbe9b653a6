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

/// Writes what an agent sends, to begin with.
#[cfg(not(feature = "libfuzzer"))]
fn main() -> std::io::Result<()> {
    use berth_agent::{otlp::request, sample::Sample};
    use prost::Message as _;
    use std::io::Write as _;

    let resource = [("berth.node".to_owned(), "node-1".to_owned())].into();
    let samples = vec![
        Sample::gauge("berth.node.height", 7.0),
        Sample::gauge("berth.disk.free", 1e12).with("volume", "data"),
        Sample::gauge("berth.agent.dropped", 0.0).counter(),
    ];
    let at = std::time::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    std::io::stdout().write_all(&request(&resource, at, samples).encode_to_vec())
}
