//! Voluntary exits: signed for a validator's owner, never for a machine.

use super::root::DomainType;
use crate::domain::refusal::Reason;
use crate::domain::{Chain, Fork, ForkName, ForkVersion, Refusal, Root, Signature};
use serde::{Deserialize, Serialize};
use serde_utils::quoted_u64;
use tree_hash::TreeHash as _;
use tree_hash_derive::TreeHash;

const PURPOSE: DomainType = [4, 0, 0, 0];

/// A validator's wish to leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TreeHash)]
pub struct VoluntaryExit {
    /// First epoch at which it may be processed.
    #[serde(with = "quoted_u64")]
    pub epoch: u64,
    /// The validator's index on the chain.
    #[serde(with = "quoted_u64")]
    pub validator_index: u64,
}

/// An exit as the beacon API takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TreeHash)]
pub struct SignedVoluntaryExit {
    /// Who leaves, and when.
    pub message: VoluntaryExit,
    /// Over [`VoluntaryExit::signing_root`].
    pub signature: Signature,
}

impl VoluntaryExit {
    /// The root to sign.
    ///
    /// # Errors
    ///
    /// [`Reason::FarFuture`] for an epoch that has not begun: it would be a
    /// signature to be used at a time that nobody chooses today.
    pub fn signing_root(&self, chain: &Chain, now_unix: u64) -> Result<Root, Refusal> {
        let now = chain.epoch_of(chain.slot_at(now_unix));
        if self.epoch > now {
            return Err(Refusal::new(
                Reason::FarFuture,
                format!("exit at epoch {}; it is epoch {now}", self.epoch),
            ));
        }
        let object = self.tree_hash_root().into();
        Ok(chain.signing_root(object, PURPOSE, self.version(chain, now)))
    }

    /// From deneb on an exit is signed for capella, for ever (EIP-7044). Before,
    /// the chain knows its fork and the one before that.
    fn version(&self, chain: &Chain, now: u64) -> ForkVersion {
        let head = chain.forks.at(now);
        match chain.forks.named(ForkName::Capella) {
            Some(capella) if head.name > ForkName::Capella => capella.version,
            _ if self.epoch >= head.epoch => head.version,
            _ => {
                let before = |fork: &&Fork| fork.name < head.name;
                chain
                    .forks
                    .iter()
                    .rev()
                    .find(before)
                    .unwrap_or(head)
                    .version
            }
        }
    }
}
