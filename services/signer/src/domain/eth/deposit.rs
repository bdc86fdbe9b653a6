//! What a new validator's owner takes to the deposit contract.

use super::root::DomainType;
use crate::domain::{Address, Chain, PublicKey, Root, Signature};
use serde::{Deserialize, Serialize};
use serde_utils::quoted_u64;
use tree_hash::TreeHash as _;
use tree_hash_derive::TreeHash;

const PURPOSE: DomainType = [3, 0, 0, 0];

/// The stake of a new validator, in gwei.
const STAKE: u64 = 32_000_000_000;

/// What a deposit's signature covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TreeHash)]
pub struct DepositMessage {
    /// The validator.
    pub pubkey: PublicKey,
    /// Who may withdraw.
    pub withdrawal_credentials: Root,
    /// In gwei.
    #[serde(with = "quoted_u64")]
    pub amount: u64,
}

/// A deposit as the contract takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TreeHash)]
pub(super) struct DepositData {
    pubkey: PublicKey,
    withdrawal_credentials: Root,
    #[serde(with = "quoted_u64")]
    amount: u64,
    signature: Signature,
}

/// A deposit as the launchpad reads it: hex without `0x`, the amount a number.
#[derive(Debug, Clone, Serialize)]
pub struct DepositForm {
    pubkey: String,
    withdrawal_credentials: String,
    amount: u64,
    signature: String,
    deposit_message_root: String,
    deposit_data_root: String,
    fork_version: String,
    network_name: String,
    deposit_cli_version: &'static str,
}

impl DepositMessage {
    /// The whole stake of a new validator, which goes back to an address of the
    /// execution layer.
    #[must_use]
    pub fn new(pubkey: PublicKey, withdrawal_address: Address) -> Self {
        let mut credentials = [0; 32];
        credentials[0] = 1;
        credentials[12..].copy_from_slice(&withdrawal_address.0);
        Self {
            pubkey,
            withdrawal_credentials: Root(credentials),
            amount: STAKE,
        }
    }

    /// The root to sign.
    #[must_use]
    pub fn signing_root(&self, chain: &Chain) -> Root {
        chain.chainless_root(self.tree_hash_root().into(), PURPOSE)
    }

    /// The form to hand in, once [`Self::signing_root`] is signed.
    #[must_use]
    pub fn form(&self, chain: &Chain, signature: Signature) -> DepositForm {
        let data = DepositData {
            pubkey: self.pubkey,
            withdrawal_credentials: self.withdrawal_credentials,
            amount: self.amount,
            signature,
        };
        let network = chain.name.strip_prefix("ethereum-");
        DepositForm {
            pubkey: hex::encode(self.pubkey.0),
            withdrawal_credentials: hex::encode(self.withdrawal_credentials.0),
            amount: self.amount,
            signature: hex::encode(signature.0),
            deposit_message_root: hex::encode(self.tree_hash_root().0),
            deposit_data_root: hex::encode(data.tree_hash_root().0),
            fork_version: hex::encode(chain.forks.genesis().version.0),
            network_name: network.unwrap_or(&chain.name).to_owned(),
            deposit_cli_version: "2.7.0",
        }
    }
}
