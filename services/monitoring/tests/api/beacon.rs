//! Asking a beacon node, and what it may answer.

use crate::node::{Answer, BeaconNode};
use berth_monitoring::beacon::{Beacon, Header, Problem, Root};
use berth_monitoring::domain::{BeaconStatus, activity};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

const SLOTS: u64 = 8;
pub(crate) const GENESIS: &str = "/eth/v1/beacon/genesis";

pub(crate) fn root(of: u64) -> String {
    format!("0x{of:064x}")
}

fn client(node: &BeaconNode, timeout: Duration) -> Beacon {
    Beacon::new(&node.url.clone().into(), timeout).unwrap()
}

/// A block as a node answers it, with fields that nobody looks at.
fn block(slot: u64, parent: u64, attestations: &[Value]) -> Value {
    json!({
        "message": {
            "slot": slot.to_string(), "proposer_index": "99", "parent_root": root(parent),
            "state_root": root(0),
            "body": { "graffiti": "0x00", "attestations": attestations },
        },
        "signature": "0x00",
    })
}

fn header(slot: u64, parent: u64) -> Value {
    let message = json!({
        "slot": slot.to_string(), "proposer_index": "1", "parent_root": root(parent),
        "state_root": root(0), "body_root": root(0),
    });
    let signed = json!({ "message": message, "signature": "0x00" });
    json!({ "root": root(slot), "canonical": true, "header": signed })
}

/// A network of these blocks and no others, the root of each its slot, with one
/// committee a slot of epoch 2: `[slot, slot + 100]`. All but 18 and 20 vote, in
/// the block of slot 25.
pub(crate) fn network(node: &BeaconNode, slots: &[u64]) -> Header {
    let vote = |slot: u64| {
        let bits = if [18, 20].contains(&slot) {
            "0x06"
        } else {
            "0x07"
        };
        json!({
            "aggregation_bits": bits,
            "data": { "slot": slot.to_string(), "index": "0" },
        })
    };
    for pair in slots.windows(2) {
        let (parent, slot) = (pair[0], pair[1]);
        let votes = if slot == 25 {
            (16..24).map(vote).collect()
        } else {
            vec![]
        };
        let path = format!("/eth/v2/beacon/blocks/{}", root(slot));
        node.data(&path, &block(slot, parent, &votes));
        let path = format!("/eth/v1/beacon/headers/{slot}");
        node.data(&path, &header(slot, parent));
    }
    let committee = |slot: u64| {
        let members = [slot.to_string(), (slot + 100).to_string()];
        json!({ "index": "0", "slot": slot.to_string(), "validators": members })
    };
    let committees: Vec<_> = (16..24).map(committee).collect();
    for slot in 16..32 {
        let path = format!("/eth/v1/beacon/states/{slot}/committees?epoch=2");
        node.data(&path, &json!(committees));
    }
    let (parent, slot) = (slots[slots.len() - 2], slots[slots.len() - 1]);
    node.data("/eth/v1/beacon/headers/head", &header(slot, parent));
    let mut parent_root = [0; 32];
    parent_root[31] = u8::try_from(parent).unwrap();
    Header {
        slot,
        parent: Root(parent_root),
    }
}

#[tokio::test]
async fn an_epoch_is_read_from_its_blocks_and_those_of_the_next() {
    let node = BeaconNode::new().await;
    // Slots 19, 24, 31 and 32 are missed.
    let slots = [7, 14, 16, 17, 18, 20, 22, 23, 25, 30, 33, 34];
    let head = network(&node, &slots);
    let beacon = client(&node, Duration::from_secs(30));
    assert_eq!(beacon.head().await.unwrap(), head);
    let record = beacon.epoch(2, SLOTS, head).await.unwrap();
    assert_eq!((record.first_slot, record.end_slot), (16, 24));
    let slots: BTreeSet<_> = record.blocks.iter().map(|block| block.slot).collect();
    assert_eq!(slots, BTreeSet::from([16, 17, 18, 20, 22, 23, 25, 30]));
    let found = activity(&record, &BTreeSet::from([16, 117, 18, 500])).unwrap();
    assert_eq!(found.seen, BTreeSet::from([16, 117]));
    assert_eq!(found.on_duty, BTreeSet::from([16, 117, 18]));
}

#[tokio::test]
async fn committees_are_understood_with_slot_and_number_swapped() {
    let node = BeaconNode::new().await;
    let head = network(&node, &[7, 14, 16, 17, 18, 20, 22, 23, 25, 30, 33, 34]);
    let beacon = client(&node, Duration::from_secs(30));
    let right = beacon.epoch(2, SLOTS, head).await.unwrap();
    let committee = |slot: u64| {
        let members = [slot.to_string(), (slot + 100).to_string()];
        json!({ "index": (slot - 16).to_string(), "slot": "0", "validators": members })
    };
    let swapped: Vec<_> = (16..24).map(committee).collect();
    node.data(
        "/eth/v1/beacon/states/30/committees?epoch=2",
        &json!(swapped),
    );
    assert_eq!(beacon.epoch(2, SLOTS, head).await.unwrap(), right);
}

#[tokio::test]
async fn a_block_that_the_node_does_not_find_is_no_missed_slot() {
    let slots = [7, 14, 16, 17, 20, 23, 25, 30, 33, 34];
    for lost in [16, 20, 25, 30] {
        let node = BeaconNode::new().await;
        let head = network(&node, &slots);
        for path in ["/eth/v2/beacon/blocks/", "/eth/v1/beacon/headers/"] {
            node.answer(&format!("{path}{}", root(lost)), Answer::Status(404));
        }
        let beacon = client(&node, Duration::from_secs(30));
        let problem = beacon.epoch(2, SLOTS, head).await.unwrap_err();
        assert!(matches!(problem, Problem::Status(_)), "{lost}: {problem}");
    }
    // One that it hides after the two epochs is met on the way back.
    let node = BeaconNode::new().await;
    let head = network(&node, &slots);
    node.answer("/eth/v1/beacon/headers/33", Answer::Status(404));
    let beacon = client(&node, Duration::from_secs(30));
    let record = beacon.epoch(2, SLOTS, head).await.unwrap();
    assert_eq!(record.blocks.len(), 6);
}

#[tokio::test]
async fn blocks_that_lead_nowhere_or_in_circles_are_refused() {
    let slots = [7, 14, 16, 17, 20, 23, 25, 30, 33, 34];
    let node = BeaconNode::new().await;
    let head = network(&node, &slots);
    let beacon = client(&node, Duration::from_secs(30));
    let path = format!("/eth/v2/beacon/blocks/{}", root(20));
    node.data(&path, &block(20, 23, &[]));
    let circle = beacon.epoch(2, SLOTS, head).await.unwrap_err();
    assert!(matches!(circle, Problem::Contradicts(_)), "{circle}");
    // The epoch after is not over.
    let early = Header { slot: 31, ..head };
    let early = beacon.epoch(2, SLOTS, early).await.unwrap_err();
    assert!(matches!(early, Problem::Contradicts(_)), "{early}");
    let absurd = beacon.epoch(u64::MAX, SLOTS, head).await.unwrap_err();
    assert!(matches!(absurd, Problem::Contradicts(_)), "{absurd}");
}

#[tokio::test]
async fn validators_are_asked_for_in_parts_and_only_those_are_taken() {
    let node = BeaconNode::new().await;
    let keys: Vec<_> = (0..31).map(|number| format!("0x{number:096x}")).collect();
    let path = |keys: &[String]| {
        let ids: Vec<_> = keys.iter().map(|key| format!("id={key}")).collect();
        format!("/eth/v1/beacon/states/head/validators?{}", ids.join("&"))
    };
    let validator = |key: &str, status: &str| {
        json!({
            "index": "5", "balance": "32000000000", "status": status,
            "validator": { "pubkey": key, "slashed": status.contains("slashed"), "exit_epoch": "9" },
        })
    };
    node.data(
        &path(&keys[..30]),
        &json!([validator(&keys[0], "active_ongoing")]),
    );
    node.data(
        &path(&keys[30..]),
        &json!([validator(&keys[30], "exited_slashed")]),
    );
    let beacon = client(&node, Duration::from_secs(30));
    let found = beacon.validators(&keys).await.unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].status, BeaconStatus::ActiveOngoing);
    assert_eq!((found[0].index, found[0].balance), (5, 32_000_000_000));
    assert!(found[1].slashed);
    for (key, status) in [(&keys[1], "active_ongoing"), (&keys[30], "active_sleeping")] {
        node.data(&path(&keys[30..]), &json!([validator(key, status)]));
        let problem = beacon.validators(&keys[30..]).await.unwrap_err();
        assert!(matches!(problem, Problem::Contradicts(_)), "{problem}");
    }
}

#[tokio::test]
async fn damaged_answers_are_problems_and_nothing_worse() {
    let node = BeaconNode::new().await;
    let beacon = client(&node, Duration::from_secs(30));
    let good = json!({ "genesis_time": "7", "genesis_validators_root": root(1) });
    node.data(GENESIS, &good);
    assert_eq!(beacon.network().await.unwrap().genesis_time, 7);
    let bodies = [
        "",
        "null",
        "{}",
        "[]",
        "{\"data\":{}}",
        "{\"data\":{\"genesis_time\":\"-7\",\"genesis_validators_root\":\"0x00\"}}",
        "{\"data\":{\"genesis_time\":\"7\",\"genesis_validators_root\":\"0xé\"}}",
        "\u{0}\u{1}",
    ];
    for body in bodies {
        node.answer(GENESIS, Answer::Json(body.to_owned()));
        let problem = beacon.network().await.unwrap_err();
        assert!(
            matches!(problem, Problem::Malformed(_)),
            "{body}: {problem}"
        );
    }
    node.answer(GENESIS, Answer::Json("[".repeat(100_000)));
    assert!(matches!(beacon.network().await, Err(Problem::Malformed(_))));
    for status in [204, 301, 404, 500] {
        node.answer(GENESIS, Answer::Status(status));
        assert!(matches!(beacon.network().await, Err(Problem::Status(_))));
    }
    node.answer(GENESIS, Answer::Endless);
    assert!(matches!(beacon.network().await, Err(Problem::TooLong(_))));
    node.answer(GENESIS, Answer::Cut);
    assert!(matches!(beacon.network().await, Err(Problem::Away(_))));
    node.answer(GENESIS, Answer::Nothing);
    let hasty = client(&node, Duration::from_millis(50));
    let problem = hasty.network().await.unwrap_err();
    assert!(matches!(problem, Problem::Away(_)), "{problem}");
    let said = berth_core::report(&problem);
    assert!(!said.contains("127.0.0.1"), "it tells no address: {said}");
    let asked = node.asked();
    assert!(asked.iter().all(|path| path == GENESIS), "{asked:?}");
}

#[test]
fn only_http_is_asked() {
    for url in [
        "https://beacon.example/?key=1",
        "https://beacon.example/#x",
        "",
        "beacon",
        "ftp://beacon",
        "file:///etc/passwd",
    ] {
        let problem = Beacon::new(&url.to_owned().into(), Duration::from_secs(1));
        assert!(matches!(problem, Err(Problem::Address)), "{url}");
    }
}
