//! Chains that requests are made for, and what their owner allows.

use berth_signer::domain::eth::Policy;
use berth_signer::domain::{Chain, Fork, ForkName, ForkVersion, Preset, PublicKey, Root, Schedule};

/// A fork each ten epochs; slots of two seconds.
pub(crate) fn chain(preset: Preset) -> Chain {
    Chain {
        name: "ethereum-test".to_owned(),
        genesis_validators_root: Root([7; 32]),
        genesis_time: 1_700_000_000,
        seconds_per_slot: 2,
        preset,
        forks: schedule(ForkName::ALL.into_iter().zip((0..).step_by(10))),
    }
}

/// Versions count up, as they do on public networks.
pub(crate) fn schedule(begins: impl Iterator<Item = (ForkName, u64)>) -> Schedule {
    let forks = begins.zip(0..).map(|((name, epoch), number)| Fork {
        name,
        epoch,
        version: ForkVersion([number, 0, 0, 1]),
    });
    forks.collect::<Vec<_>>().try_into().unwrap()
}

/// When a slot begins.
pub(crate) fn begin(chain: &Chain, slot: u64) -> u64 {
    chain.genesis_time + slot * u64::from(chain.seconds_per_slot)
}

/// An owner who wants no registrations.
pub(crate) const STRICT: Policy = Policy {
    public_key: PublicKey([9; 48]),
    fee_recipient: None,
    gas_limit: 0,
};
