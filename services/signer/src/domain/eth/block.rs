//! Blocks of phase0 and altair, which clients send in full. Later forks send
//! the header: its root is the block's.

use super::containers::{Attestation, AttestationData, BeaconBlockHeader};
use super::deposit::DepositData;
use super::exit::SignedVoluntaryExit;
use super::sizes::Sizes;
use crate::domain::{Root, Signature};
use serde::{Deserialize, Serialize};
use serde_utils::quoted_u64;
use ssz::BitVector;
use ssz_types::serde_utils::quoted_u64_var_list;
use ssz_types::{FixedVector, VariableList};
use tree_hash_derive::TreeHash;
use typenum::{U2, U16, U33, U128, U2048};

/// A block whose body is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Block<B> {
    #[serde(with = "quoted_u64")]
    pub(super) slot: u64,
    #[serde(with = "quoted_u64")]
    pub(super) proposer_index: u64,
    pub(super) parent_root: Root,
    pub(super) state_root: Root,
    pub(super) body: B,
}

impl<B: tree_hash::TreeHash> Block<B> {
    /// The header, which has the block's root.
    pub(super) fn header(&self) -> BeaconBlockHeader {
        BeaconBlockHeader {
            slot: self.slot,
            proposer_index: self.proposer_index,
            parent_root: self.parent_root,
            state_root: self.state_root,
            body_root: self.body.tree_hash_root().into(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TreeHash)]
pub(super) struct BodyPhase0 {
    randao_reveal: Signature,
    eth1_data: Eth1Data,
    graffiti: Root,
    proposer_slashings: VariableList<ProposerSlashing, U16>,
    attester_slashings: VariableList<AttesterSlashing, U2>,
    attestations: VariableList<Attestation, U128>,
    deposits: VariableList<Deposit, U16>,
    voluntary_exits: VariableList<SignedVoluntaryExit, U16>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TreeHash)]
#[serde(bound = "P: Sizes")]
pub(super) struct BodyAltair<P: Sizes> {
    randao_reveal: Signature,
    eth1_data: Eth1Data,
    graffiti: Root,
    proposer_slashings: VariableList<ProposerSlashing, U16>,
    attester_slashings: VariableList<AttesterSlashing, U2>,
    attestations: VariableList<Attestation, U128>,
    deposits: VariableList<Deposit, U16>,
    voluntary_exits: VariableList<SignedVoluntaryExit, U16>,
    sync_aggregate: SyncAggregate<P>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TreeHash)]
#[serde(bound = "P: Sizes")]
struct SyncAggregate<P: Sizes> {
    sync_committee_bits: BitVector<P::SyncCommittee>,
    sync_committee_signature: Signature,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TreeHash)]
struct Eth1Data {
    deposit_root: Root,
    #[serde(with = "quoted_u64")]
    deposit_count: u64,
    block_hash: Root,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TreeHash)]
struct SignedBeaconBlockHeader {
    message: BeaconBlockHeader,
    signature: Signature,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TreeHash)]
struct ProposerSlashing {
    signed_header_1: SignedBeaconBlockHeader,
    signed_header_2: SignedBeaconBlockHeader,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TreeHash)]
struct IndexedAttestation {
    #[serde(with = "quoted_u64_var_list")]
    attesting_indices: VariableList<u64, U2048>,
    data: AttestationData,
    signature: Signature,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TreeHash)]
struct AttesterSlashing {
    attestation_1: IndexedAttestation,
    attestation_2: IndexedAttestation,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TreeHash)]
struct Deposit {
    proof: FixedVector<Root, U33>,
    data: DepositData,
}
