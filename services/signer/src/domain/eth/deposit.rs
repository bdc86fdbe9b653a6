//! What a new validator's owner takes to the deposit contract.

use super::root::DomainType;
use crate::domain::{Address, Chain, PublicKey, Root, Signature, SigningKey};
use serde::{Deserialize, Serialize};
use serde_utils::quoted_u64;
use tree_hash::TreeHash as _;
use tree_hash_derive::TreeHash;

const PURPOSE: DomainType = [3, 0, 0, 0];

/// The stake of a new validator, in gwei.
const STAKE: u64 = 32_000_000_000;

/// Version of the form, by the tool that the launchpad knows it from.
const FORM_VERSION: &str = "2.7.0";

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

/// A signed deposit as the launchpad reads it: hex without `0x`, the amount a
/// number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deposit {
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
}

impl Deposit {
    /// The whole stake of a key, which goes back to an address of the execution
    /// layer.
    #[must_use]
    pub fn new(chain: &Chain, key: &SigningKey, withdrawal_address: Address) -> Self {
        let message = DepositMessage::new(key.public_key(), withdrawal_address);
        let data = DepositData {
            pubkey: message.pubkey,
            withdrawal_credentials: message.withdrawal_credentials,
            amount: message.amount,
            signature: key.sign(&message.signing_root(chain)),
        };
        let network = chain.name.strip_prefix("ethereum-").unwrap_or(&chain.name);
        Self {
            pubkey: hex::encode(data.pubkey.0),
            withdrawal_credentials: hex::encode(data.withdrawal_credentials.0),
            amount: data.amount,
            signature: hex::encode(data.signature.0),
            deposit_message_root: hex::encode(message.tree_hash_root().0),
            deposit_data_root: hex::encode(data.tree_hash_root().0),
            fork_version: hex::encode(chain.forks.genesis().version.0),
            network_name: network.to_owned(),
            deposit_cli_version: FORM_VERSION,
        }
    }
}
