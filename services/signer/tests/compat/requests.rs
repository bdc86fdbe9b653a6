//! Our own requests, one of each type, as clients write them.

use crate::chain::STRICT;
use berth_signer::domain::{Chain, ForkName, Preset};
use serde_json::{Value, json};

/// What machines may ask for.
pub(crate) const KINDS: [&str; 10] = [
    "BLOCK_V2",
    "ATTESTATION",
    "RANDAO_REVEAL",
    "AGGREGATION_SLOT",
    "AGGREGATE_AND_PROOF",
    "AGGREGATE_AND_PROOF_V2",
    "SYNC_COMMITTEE_MESSAGE",
    "SYNC_COMMITTEE_SELECTION_PROOF",
    "SYNC_COMMITTEE_CONTRIBUTION_AND_PROOF",
    "VALIDATOR_REGISTRATION",
];

/// A request of a type at a slot, without `signingRoot`.
pub(crate) fn request(chain: &Chain, kind: &str, slot: u64) -> Value {
    let epoch = chain.epoch_of(slot);
    let fork = chain.forks.at(epoch);
    let (field, payload) = match kind {
        "BLOCK_V2" => ("beacon_block", block(chain, slot)),
        "ATTESTATION" => ("attestation", attestation(chain, slot)),
        "RANDAO_REVEAL" => ("randao_reveal", json!({"epoch": epoch.to_string()})),
        "AGGREGATION_SLOT" => ("aggregation_slot", json!({"slot": slot.to_string()})),
        "AGGREGATE_AND_PROOF" => ("aggregate_and_proof", aggregate(chain, slot)),
        "AGGREGATE_AND_PROOF_V2" => {
            let version = fork.name.name().to_uppercase();
            let wrapped = json!({"version": version, "data": aggregate(chain, slot)});
            ("aggregate_and_proof", wrapped)
        }
        "SYNC_COMMITTEE_MESSAGE" => (
            "sync_committee_message",
            json!({"beacon_block_root": hex(0x11, 32), "slot": slot.to_string()}),
        ),
        "SYNC_COMMITTEE_SELECTION_PROOF" => (
            "sync_aggregator_selection_data",
            json!({"slot": slot.to_string(), "subcommittee_index": "1"}),
        ),
        "SYNC_COMMITTEE_CONTRIBUTION_AND_PROOF" => {
            ("contribution_and_proof", contribution(chain, slot))
        }
        _ => ("validator_registration", registration(chain, slot)),
    };
    let mut body = json!({"type": kind, field: payload});
    if kind != "VALIDATOR_REGISTRATION" {
        body["fork_info"] = json!({
            "fork": {
                "previous_version": fork.version,
                "current_version": fork.version,
                "epoch": epoch.to_string(),
            },
            "genesis_validators_root": chain.genesis_validators_root,
        });
    }
    body
}

fn hex(byte: u8, count: usize) -> String {
    format!("0x{}", hex::encode(vec![byte; count]))
}

/// A length of mainnet or of minimal.
fn sized(chain: &Chain, mainnet: usize, minimal: usize) -> usize {
    match chain.preset {
        Preset::Mainnet => mainnet,
        Preset::Minimal => minimal,
    }
}

fn attestation(chain: &Chain, slot: u64) -> Value {
    let epoch = chain.epoch_of(slot);
    let checkpoint = |epoch: u64| json!({"epoch": epoch.to_string(), "root": hex(0x22, 32)});
    json!({
        "slot": slot.to_string(),
        "index": "0",
        "beacon_block_root": hex(0x11, 32),
        "source": checkpoint(epoch.saturating_sub(1)),
        "target": checkpoint(epoch),
    })
}

fn block(chain: &Chain, slot: u64) -> Value {
    let fork = chain.forks.at(chain.epoch_of(slot)).name;
    let mut block = json!({
        "slot": slot.to_string(),
        "proposer_index": "3",
        "parent_root": hex(0x33, 32),
        "state_root": hex(0x44, 32),
    });
    let mut field = "block_header";
    if fork >= ForkName::Bellatrix {
        block["body_root"] = json!(hex(0x55, 32));
    } else {
        field = "block";
        block["body"] = json!({
            "randao_reveal": hex(0x66, 96),
            "eth1_data": {
                "deposit_root": hex(0x77, 32),
                "deposit_count": "1",
                "block_hash": hex(0x88, 32),
            },
            "graffiti": hex(0, 32),
            "proposer_slashings": [],
            "attester_slashings": [],
            "attestations": [],
            "deposits": [],
            "voluntary_exits": [],
        });
    }
    if fork == ForkName::Altair {
        block["body"]["sync_aggregate"] = json!({
            "sync_committee_bits": hex(0xff, sized(chain, 64, 4)),
            "sync_committee_signature": hex(0x99, 96),
        });
    }
    json!({"version": fork.name().to_uppercase(), field: block})
}

fn aggregate(chain: &Chain, slot: u64) -> Value {
    let mut aggregate = json!({
        "aggregation_bits": "0x07",
        "data": attestation(chain, slot),
        "signature": hex(0xaa, 96),
    });
    if chain.forks.at(chain.epoch_of(slot)).name >= ForkName::Electra {
        aggregate["committee_bits"] = json!(hex(1, sized(chain, 8, 1)));
    }
    json!({"aggregator_index": "4", "aggregate": aggregate, "selection_proof": hex(0xbb, 96)})
}

fn contribution(chain: &Chain, slot: u64) -> Value {
    json!({
        "aggregator_index": "5",
        "contribution": {
            "slot": slot.to_string(),
            "beacon_block_root": hex(0x11, 32),
            "subcommittee_index": "2",
            "aggregation_bits": hex(0xff, sized(chain, 16, 1)),
            "signature": hex(0xcc, 96),
        },
        "selection_proof": hex(0xdd, 96),
    })
}

fn registration(chain: &Chain, slot: u64) -> Value {
    json!({
        "fee_recipient": hex(0xee, 20),
        "gas_limit": "30000000",
        "timestamp": crate::chain::begin(chain, slot).to_string(),
        "pubkey": STRICT.public_key,
    })
}
