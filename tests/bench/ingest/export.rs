//! What the agent of a Cosmos Hub node sends at each round, as it goes over the
//! line.

use berth_agent::otlp;
use berth_agent::sample::Sample;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message as _;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::SystemTime;

/// Points of an export.
pub(crate) const POINTS: usize = 20;

/// The export of a node at a time, compressed as the agent does, in a frame.
pub(crate) fn frame(node: &str, height: f64, at: SystemTime) -> Bytes {
    let resource = BTreeMap::from(
        [
            ("service.name", "berth-agent"),
            ("berth.chain", "cosmoshub"),
            ("berth.node.id", node),
            ("berth.role", "full"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    let samples = samples(height);
    assert_eq!(samples.len(), POINTS);
    let message = otlp::request(&resource, at, samples).encode_to_vec();
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(&message).unwrap();
    let packed = packed.finish().unwrap();
    let mut frame = vec![1];
    frame.extend(u32::try_from(packed.len()).unwrap().to_be_bytes());
    frame.extend(packed);
    frame.into()
}

/// What `images/cosmoshub/chain.toml` has the agent measure.
fn samples(height: f64) -> Vec<Sample> {
    let gauge = |name: &str, value| Sample::gauge(name, value);
    let up = ["status", "peers", "head", "metrics", "disk"];
    let mut samples: Vec<_> = up
        .map(|probe| gauge("berth.probe.up", 1.0).with("probe", probe))
        .into();
    samples.extend([
        gauge("berth.node.height", height),
        gauge("berth.node.catching_up", 0.0),
        gauge("berth.node.block_time_unix", 1.78e9 + 6.0 * height),
        gauge("berth.node.peers", 40.0 + height % 7.0),
        gauge("berth.node.head_height", height + 1.0),
    ]);
    let prometheus = |name: &str, value| {
        gauge(&format!("cometbft_{name}"), value).with("chain_id", "cosmoshub-4")
    };
    samples.extend([
        prometheus("consensus_byzantine_validators", 0.0),
        prometheus("consensus_missing_validators", height % 5.0),
        prometheus("consensus_rounds", 0.0),
        prometheus("consensus_validators", 200.0),
        prometheus("mempool_size", height % 90.0),
    ]);
    samples.extend([
        gauge("berth.disk.size", 2e12).with("volume", "data"),
        gauge("berth.disk.free", 1e12 - 1e5 * height).with("volume", "data"),
        gauge("berth.node.up", 1.0),
        gauge("berth.clock.offset", 0.0),
        gauge("berth.agent.dropped", 0.0).counter(),
    ]);
    samples
}
