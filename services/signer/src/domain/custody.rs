//! Whether a key that came without its past may sign: decided by what was seen
//! of it on its chain. The watermarks that follow are those of a re-anchoring.

use super::Chain;
use berth_core::{Error, Result};

/// Fewest epochs of silence.
const EPOCHS: u64 = 2;
/// Age of an observation, in epochs, at which it says nothing any more.
const OLD: u64 = 8;

/// What was seen of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// It had to vote in each of these epochs, and did nothing.
    Silent {
        /// The first epoch.
        first: u64,
        /// The last epoch.
        last: u64,
    },
    /// It was active in this epoch.
    Active {
        /// The epoch.
        epoch: u64,
    },
    /// It had no duties.
    Idle {
        /// Its status there.
        status: String,
    },
}

/// That these epochs of silence let a key sign that came at `since`, both in
/// Unix seconds.
///
/// # Errors
///
/// [`Error::Precondition`] that says what they lack.
pub fn release(chain: &Chain, (first, last): (u64, u64), since: u64, now: u64) -> Result<()> {
    let refused = |reason, why: String| Err(Error::precondition(reason, why));
    let length = chain
        .preset
        .slots_per_epoch()
        .saturating_mul(chain.seconds_per_slot.into());
    let begins = |epoch: u64| {
        chain
            .genesis_time
            .saturating_add(epoch.saturating_mul(length))
    };
    let present = chain.epoch_of(chain.slot_at(now));
    if last < first || last - first < EPOCHS - 1 {
        let why = format!("silence from epoch {first} to {last} is less than {EPOCHS} epochs");
        return refused("OBSERVATION_SHORT", why);
    }
    if begins(first) < since {
        let why = format!("epoch {first} began before the key came");
        return refused("OBSERVATION_EARLY", why);
    }
    // Votes of an epoch may come until the next one is over.
    if present < last.saturating_add(2) {
        let why = format!("it is epoch {present}: votes of epoch {last} may still come");
        return refused("OBSERVATION_NOT_OVER", why);
    }
    if present > last.saturating_add(OLD) {
        let why = format!("it is epoch {present}: what was so in epoch {last} may have changed");
        return refused("OBSERVATION_OLD", why);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Fork, ForkName, ForkVersion, Preset, Root, Schedule};

    /// An epoch takes 16 seconds.
    fn chain() -> Chain {
        let genesis = Fork {
            name: ForkName::Phase0,
            epoch: 0,
            version: ForkVersion([0; 4]),
        };
        Chain {
            name: "ethereum-test".to_owned(),
            genesis_validators_root: Root([1; 32]),
            genesis_time: 1000,
            seconds_per_slot: 2,
            preset: Preset::Minimal,
            forks: Schedule::try_from(vec![genesis]).unwrap(),
        }
    }

    #[test]
    fn two_whole_epochs_that_are_over_and_not_old_let_a_key_sign() {
        let epoch = |number: u64| 1000 + 16 * number;
        let reason = |span, since, now| match release(&chain(), span, since, now) {
            Ok(()) => "",
            Err(Error::Precondition { reason, .. }) => reason,
            Err(_) => "another error",
        };
        for (span, since, now, wanted) in [
            ((5, 6), epoch(5), epoch(8), ""),
            ((5, 9), epoch(5), epoch(11), ""),
            ((5, 6), epoch(5), epoch(15) - 1, ""),
            ((5, 6), epoch(5), epoch(15), "OBSERVATION_OLD"),
            ((5, 6), epoch(5), epoch(8) - 1, "OBSERVATION_NOT_OVER"),
            ((5, 6), epoch(5), 0, "OBSERVATION_NOT_OVER"),
            ((5, 6), epoch(5) + 1, epoch(8), "OBSERVATION_EARLY"),
            ((5, 5), epoch(5), epoch(8), "OBSERVATION_SHORT"),
            ((6, 5), epoch(5), epoch(8), "OBSERVATION_SHORT"),
            ((5, 0), epoch(5), epoch(8), "OBSERVATION_SHORT"),
            (
                (u64::MAX - 1, u64::MAX),
                0,
                epoch(8),
                "OBSERVATION_NOT_OVER",
            ),
            ((0, u64::MAX), 0, epoch(8), "OBSERVATION_NOT_OVER"),
        ] {
            assert_eq!(reason(span, since, now), wanted, "{span:?} {since} {now}");
        }
    }
}
