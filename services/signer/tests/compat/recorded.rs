//! Requests that a real Lodestar 1.5.1 sent to a remote signer.

use crate::chain::{STRICT, begin, schedule};
use crate::vectors::folder;
use berth_signer::domain::eth::SignRequest;
use berth_signer::domain::{Chain, ForkName, Preset};
use serde_json::{Value, json};
use std::fs;

/// The devnet that the validator client was on.
fn devnet() -> Chain {
    let root = "0x05d79a31a8e69ecd78114c50ce73116be33027d8431b82fff6c0b3cd9c2cbb1f";
    Chain {
        name: "ethereum-devnet".to_owned(),
        genesis_validators_root: root.parse().unwrap(),
        genesis_time: 1_600_000_000,
        seconds_per_slot: 1,
        preset: Preset::Minimal,
        forks: schedule([(ForkName::Phase0, 0), (ForkName::Altair, 0)].into_iter()),
    }
}

/// Where each type says its slot; a RANDAO reveal says an epoch.
const SLOTS: [&str; 7] = [
    "/attestation/slot",
    "/aggregation_slot/slot",
    "/aggregate_and_proof/aggregate/data/slot",
    "/beacon_block/block/slot",
    "/sync_committee_message/slot",
    "/sync_aggregator_selection_data/slot",
    "/contribution_and_proof/contribution/slot",
];

fn slot(body: &Value) -> u64 {
    let number = |at: &str| body.pointer(at)?.as_str()?.parse::<u64>().ok();
    let epoch = || number("/randao_reveal/epoch").map(|epoch| epoch * 8);
    SLOTS.into_iter().find_map(number).or_else(epoch).unwrap()
}

#[test]
fn recorded_requests_have_the_roots_that_the_client_computed() {
    let Some(folder) = folder("web3signer", "requests recorded from Lodestar 1.5.1") else {
        return;
    };
    let chain = devnet();
    let mut seen = 0;
    for file in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        let mut body = serde_json::from_str::<Value>(&text).unwrap()["body"].take();
        let now = begin(&chain, slot(&body));
        let ask = |body: &Value| {
            let request = SignRequest::parse(body.to_string().as_bytes())?;
            request.check(&chain, &STRICT, now)
        };
        let (message, root) = ask(&body).unwrap();
        assert_eq!(json!(root), body["signingRoot"]);
        body.as_object_mut().unwrap().remove("signingRoot");
        assert_eq!(ask(&body), Ok((message, root)));
        seen += 1;
    }
    assert!(seen >= 24, "{seen}");
}
