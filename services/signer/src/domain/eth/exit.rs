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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Preset, Schedule};

    /// A fork each ten epochs, up to the last one named.
    fn chain(last: ForkName) -> Chain {
        let forks = ForkName::ALL.into_iter().filter(|name| *name <= last);
        let forks = forks.zip(0..).map(|(name, number)| Fork {
            name,
            epoch: u64::from(number) * 10,
            version: ForkVersion([number; 4]),
        });
        Chain {
            name: "ethereum-test".to_owned(),
            genesis_validators_root: Root([1; 32]),
            genesis_time: 0,
            seconds_per_slot: 1,
            preset: Preset::Minimal,
            forks: Schedule::try_from(forks.collect::<Vec<_>>()).unwrap(),
        }
    }

    #[test]
    fn from_deneb_on_an_exit_of_any_epoch_is_signed_for_capella() {
        let chain = chain(ForkName::Fulu);
        for (now, epoch, version) in [
            (5, 5, 0),
            (15, 15, 1),
            (15, 5, 0),
            (35, 35, 3),
            (35, 25, 2),
            (40, 40, 3),
            (65, 5, 3),
            (65, 65, 3),
        ] {
            let exit = VoluntaryExit {
                epoch,
                validator_index: 7,
            };
            assert_eq!(
                exit.version(&chain, now),
                ForkVersion([version; 4]),
                "{epoch}"
            );
            assert!(exit.signing_root(&chain, now * 8).is_ok());
        }
    }

    #[test]
    fn an_exit_of_a_later_epoch_is_not_signed() {
        let exit = VoluntaryExit {
            epoch: 6,
            validator_index: 7,
        };
        let refusal = exit.signing_root(&chain(ForkName::Altair), 6 * 8 - 1);
        assert_eq!(refusal.unwrap_err().reason, Reason::FarFuture);
        assert!(exit.signing_root(&chain(ForkName::Altair), 6 * 8).is_ok());
    }
}
