//! What does not fit the chain, the present or the owner is refused by name.

use crate::chain::{STRICT, begin, chain};
use crate::requests::{KINDS, request};
use berth_signer::domain::eth::{Policy, SignRequest};
use berth_signer::domain::refusal::{Reason, Refusal};
use berth_signer::domain::{Address, Chain, Message, Preset, Root};
use serde_json::{Value, json};

/// In altair, in the middle of an epoch; both presets.
fn altair(chain: &Chain) -> u64 {
    chain.preset.slots_per_epoch() * 12 + 3
}

fn electra(chain: &Chain) -> u64 {
    chain.preset.slots_per_epoch() * 52 + 3
}

/// An owner who allows the registration of our requests.
fn open() -> Policy {
    Policy {
        fee_recipient: Some(Address([0xee; 20])),
        gas_limit: 30_000_000,
        ..STRICT
    }
}

fn ask(
    chain: &Chain,
    body: &Value,
    policy: &Policy,
    slot: u64,
) -> Result<(Message, Root), Refusal> {
    let request = SignRequest::parse(body.to_string().as_bytes())?;
    request.check(chain, policy, begin(chain, slot))
}

/// Asks for a request after an edit.
fn edited(chain: &Chain, kind: &str, slot: u64, edit: impl Fn(&mut Value)) -> Refusal {
    let mut body = request(chain, kind, slot);
    ask(chain, &body, &open(), slot).unwrap();
    edit(&mut body);
    ask(chain, &body, &open(), slot).unwrap_err()
}

fn zeros(count: usize) -> Value {
    json!(format!("0x{}", "00".repeat(count)))
}

#[test]
fn every_type_is_answered_in_every_fork() {
    for chain in [chain(Preset::Mainnet), chain(Preset::Minimal)] {
        for epoch in (5..70).step_by(10) {
            let slot = epoch * chain.preset.slots_per_epoch();
            for kind in KINDS {
                let body = request(&chain, kind, slot);
                let (message, root) = ask(&chain, &body, &open(), slot).unwrap();
                let expected = match kind {
                    "BLOCK_V2" => Message::Block { slot },
                    "ATTESTATION" => Message::Attestation {
                        source: epoch - 1,
                        target: epoch,
                    },
                    _ => Message::Other,
                };
                assert_eq!(message, expected, "{kind}");
                assert_ne!(root, Root([0; 32]));
            }
        }
    }
}

#[test]
fn another_network_is_refused_whatever_the_type() {
    let chain = chain(Preset::Minimal);
    for kind in KINDS
        .into_iter()
        .filter(|kind| *kind != "VALIDATOR_REGISTRATION")
    {
        let refusal = edited(&chain, kind, altair(&chain), |body| {
            body["fork_info"]["genesis_validators_root"] = zeros(32);
        });
        assert_eq!(refusal.reason, Reason::WrongNetwork, "{kind}: {refusal}");
    }
}

#[test]
fn a_fork_version_of_another_network_or_time_is_refused_whatever_the_type() {
    let chain = chain(Preset::Minimal);
    for kind in KINDS
        .into_iter()
        .filter(|kind| *kind != "VALIDATOR_REGISTRATION")
    {
        for (previous, current) in [
            ("0x00000001", "0x01000000"), // foreign
            ("0x01000000", "0x01000001"), // foreign before
            ("0x02000001", "0x03000001"), // later
            ("0x00000001", "0x00000001"), // earlier
        ] {
            let refusal = edited(&chain, kind, altair(&chain), |body| {
                body["fork_info"]["fork"]["previous_version"] = json!(previous);
                body["fork_info"]["fork"]["current_version"] = json!(current);
            });
            assert_eq!(refusal.reason, Reason::WrongFork, "{kind}: {refusal}");
        }
    }
}

#[test]
fn a_client_that_is_a_fork_ahead_of_its_message_gets_the_message_s_fork() {
    let chain = chain(Preset::Minimal);
    let slot = altair(&chain);
    let mut body = request(&chain, "ATTESTATION", slot);
    let answer = ask(&chain, &body, &open(), slot);
    body["fork_info"]["fork"]["current_version"] = json!("0x02000001");
    assert_eq!(ask(&chain, &body, &open(), slot), answer);
}

#[test]
fn a_wrong_signing_root_is_refused_whatever_the_type() {
    let chain = chain(Preset::Mainnet);
    for kind in KINDS {
        let refusal = edited(&chain, kind, electra(&chain), |body| {
            body["signingRoot"] = zeros(32);
        });
        assert_eq!(
            refusal.reason,
            Reason::WrongSigningRoot,
            "{kind}: {refusal}"
        );
    }
}

#[test]
fn sizes_of_another_preset_are_refused() {
    let (mainnet, minimal) = (chain(Preset::Mainnet), chain(Preset::Minimal));
    for (theirs, ours) in [(&mainnet, &minimal), (&minimal, &mainnet)] {
        for (kind, slot) in [
            ("BLOCK_V2", altair(ours)),
            ("AGGREGATE_AND_PROOF", electra(ours)),
            ("AGGREGATE_AND_PROOF_V2", electra(ours)),
            ("SYNC_COMMITTEE_CONTRIBUTION_AND_PROOF", altair(ours)),
        ] {
            let pointer = match kind {
                "BLOCK_V2" => "/beacon_block/block/body/sync_aggregate",
                "AGGREGATE_AND_PROOF" => "/aggregate_and_proof/aggregate/committee_bits",
                "AGGREGATE_AND_PROOF_V2" => "/aggregate_and_proof/data/aggregate/committee_bits",
                _ => "/contribution_and_proof/contribution/aggregation_bits",
            };
            let per_epoch = |chain: &Chain| chain.preset.slots_per_epoch();
            let foreign = request(theirs, kind, slot / per_epoch(ours) * per_epoch(theirs));
            let refusal = edited(ours, kind, slot, |body| {
                *body.pointer_mut(pointer).unwrap() = foreign.pointer(pointer).unwrap().clone();
            });
            assert_eq!(refusal.reason, Reason::WrongPreset, "{kind}: {refusal}");
        }
    }
}

#[test]
fn a_message_of_another_fork_than_its_slot_s_is_refused() {
    let chain = chain(Preset::Minimal);
    let (before, since) = (altair(&chain), electra(&chain));
    let set = |pointer: &'static str, value: Value| {
        move |body: &mut Value| *body.pointer_mut(pointer).unwrap() = value.clone()
    };
    let without_bits = |body: &mut Value| {
        let aggregate = &mut body["aggregate_and_proof"]["aggregate"];
        aggregate.as_object_mut().unwrap().remove("committee_bits");
    };
    for refusal in [
        edited(
            &chain,
            "BLOCK_V2",
            since,
            set("/beacon_block/version", json!("DENEB")),
        ),
        edited(
            &chain,
            "BLOCK_V2",
            since,
            set("/beacon_block/version", json!("GLOAS")),
        ),
        edited(
            &chain,
            "BLOCK_V2",
            before,
            set("/beacon_block/version", json!("PHASE0")),
        ),
        edited(&chain, "AGGREGATE_AND_PROOF", since, without_bits),
        edited(&chain, "AGGREGATE_AND_PROOF", before, |body| {
            body["aggregate_and_proof"]["aggregate"]["committee_bits"] = json!("0x01");
        }),
        edited(
            &chain,
            "AGGREGATE_AND_PROOF_V2",
            since,
            set("/aggregate_and_proof/version", json!("FULU")),
        ),
    ] {
        assert_eq!(refusal.reason, Reason::WrongFork, "{refusal}");
    }
}

#[test]
fn unknown_types_and_those_of_owners_are_refused() {
    let chain = chain(Preset::Minimal);
    for (kind, reason) in [
        ("PAYLOAD_ATTESTATION", Reason::UnknownType),
        ("attestation", Reason::UnknownType),
        ("", Reason::UnknownType),
        ("VOLUNTARY_EXIT", Reason::TypeNotPermitted),
        ("DEPOSIT", Reason::TypeNotPermitted),
        ("BLS_TO_EXECUTION_CHANGE", Reason::TypeNotPermitted),
    ] {
        let refusal = edited(&chain, "ATTESTATION", altair(&chain), |body| {
            body["type"] = json!(kind);
        });
        assert_eq!(refusal.reason, reason, "{refusal}");
    }
}

#[test]
fn malformed_bodies_are_refused_and_not_repeated_at_length() {
    let chain = chain(Preset::Minimal);
    let long = "x".repeat(1_000_000);
    let edits: [&dyn Fn(&mut Value); 7] = [
        &|body| body["attestation"]["slot"] = json!("-1"),
        &|body| body["attestation"]["slot"] = json!("18446744073709551616"),
        &|body| body["attestation"]["target"]["root"] = zeros(31),
        &|body| body["attestation"]["index"] = json!(long),
        &|body| body["signingRoot"] = json!(long),
        &|body| *body = json!({"type": "ATTESTATION", "attestation": body["attestation"]}),
        &|body| *body = json!({"type": "ATTESTATION", "fork_info": body["fork_info"]}),
    ];
    for edit in edits {
        let refusal = edited(&chain, "ATTESTATION", altair(&chain), edit);
        assert_eq!(refusal.reason, Reason::Malformed, "{refusal}");
        assert!(refusal.detail.len() < 1000, "{}", refusal.detail.len());
    }
    let refusal = edited(&chain, "ATTESTATION", altair(&chain), |body| {
        body["type"] = json!(long)
    });
    assert!(refusal.detail.len() < 1000, "{}", refusal.detail.len());
    for bits in [json!("0x00"), json!(format!("0x{}", "ff".repeat(300)))] {
        let refusal = edited(&chain, "AGGREGATE_AND_PROOF", altair(&chain), |body| {
            body["aggregate_and_proof"]["aggregate"]["aggregation_bits"] = bits.clone();
        });
        assert_eq!(refusal.reason, Reason::Malformed, "{refusal}");
    }
    for body in ["", "[]", "null", "{", "\u{0}"] {
        let refusal = SignRequest::parse(body.as_bytes()).unwrap_err();
        assert_eq!(refusal.reason, Reason::Malformed, "{body:?}: {refusal}");
    }
}
