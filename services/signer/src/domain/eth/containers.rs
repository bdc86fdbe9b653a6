//! The containers that machines may ask to sign, but for blocks. Fields stand in
//! the order of the specification: the root depends on it.

use super::sizes::Sizes;
use crate::domain::{Address, PublicKey, Root, Signature};
use serde::{Deserialize, Serialize};
use serde_utils::quoted_u64;
use ssz::{BitList, BitVector};
use tree_hash_derive::TreeHash;
use typenum::U2048;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TreeHash)]
pub(super) struct Checkpoint {
    #[serde(with = "quoted_u64")]
    pub(super) epoch: u64,
    pub(super) root: Root,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TreeHash)]
pub(super) struct AttestationData {
    #[serde(with = "quoted_u64")]
    pub(super) slot: u64,
    #[serde(with = "quoted_u64")]
    pub(super) index: u64,
    pub(super) beacon_block_root: Root,
    pub(super) source: Checkpoint,
    pub(super) target: Checkpoint,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TreeHash)]
pub(super) struct Attestation {
    pub(super) aggregation_bits: BitList<U2048>,
    pub(super) data: AttestationData,
    pub(super) signature: Signature,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TreeHash)]
pub(super) struct AggregateAndProof {
    #[serde(with = "quoted_u64")]
    pub(super) aggregator_index: u64,
    pub(super) aggregate: Attestation,
    pub(super) selection_proof: Signature,
}

/// From electra on: the committees of a slot in one attestation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TreeHash)]
#[serde(bound = "P: Sizes")]
pub(super) struct AttestationElectra<P: Sizes> {
    pub(super) aggregation_bits: BitList<P::SlotValidators>,
    pub(super) data: AttestationData,
    pub(super) signature: Signature,
    pub(super) committee_bits: BitVector<P::Committees>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TreeHash)]
#[serde(bound = "P: Sizes")]
pub(super) struct AggregateAndProofElectra<P: Sizes> {
    #[serde(with = "quoted_u64")]
    pub(super) aggregator_index: u64,
    pub(super) aggregate: AttestationElectra<P>,
    pub(super) selection_proof: Signature,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TreeHash)]
#[serde(bound = "P: Sizes")]
pub(super) struct SyncCommitteeContribution<P: Sizes> {
    #[serde(with = "quoted_u64")]
    pub(super) slot: u64,
    pub(super) beacon_block_root: Root,
    #[serde(with = "quoted_u64")]
    pub(super) subcommittee_index: u64,
    pub(super) aggregation_bits: BitVector<P::SyncSubcommittee>,
    pub(super) signature: Signature,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TreeHash)]
#[serde(bound = "P: Sizes")]
pub(super) struct ContributionAndProof<P: Sizes> {
    #[serde(with = "quoted_u64")]
    pub(super) aggregator_index: u64,
    pub(super) contribution: SyncCommitteeContribution<P>,
    pub(super) selection_proof: Signature,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TreeHash)]
pub(super) struct SyncAggregatorSelectionData {
    #[serde(with = "quoted_u64")]
    pub(super) slot: u64,
    #[serde(with = "quoted_u64")]
    pub(super) subcommittee_index: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TreeHash)]
pub(super) struct ValidatorRegistration {
    pub(super) fee_recipient: Address,
    #[serde(with = "quoted_u64")]
    pub(super) gas_limit: u64,
    #[serde(with = "quoted_u64")]
    pub(super) timestamp: u64,
    pub(super) pubkey: PublicKey,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TreeHash)]
pub(super) struct BeaconBlockHeader {
    #[serde(with = "quoted_u64")]
    pub(super) slot: u64,
    #[serde(with = "quoted_u64")]
    pub(super) proposer_index: u64,
    pub(super) parent_root: Root,
    pub(super) state_root: Root,
    pub(super) body_root: Root,
}
