//! What may change of a network that is pinned: forks may follow, before they
//! begin. Nothing else, ever.

use super::Chain;
use berth_core::{Error, Result};

/// That `asked` is what is known, with forks of the future added at most.
///
/// # Errors
///
/// [`Error::Precondition`] that says what differs.
pub fn repin(known: &Chain, asked: &Chain, now_unix: u64) -> Result<()> {
    let pinned = |what: String| Err(Error::precondition("CHAIN_PINNED", what));
    let name = &known.name;
    for (what, is, wanted) in [
        (
            "genesis validators root",
            known.genesis_validators_root.to_string(),
            asked.genesis_validators_root.to_string(),
        ),
        (
            "genesis time",
            known.genesis_time.to_string(),
            asked.genesis_time.to_string(),
        ),
        (
            "seconds of a slot",
            known.seconds_per_slot.to_string(),
            asked.seconds_per_slot.to_string(),
        ),
        (
            "preset",
            known.preset.name().to_owned(),
            asked.preset.name().to_owned(),
        ),
    ] {
        if is != wanted {
            return pinned(format!("the {what} of `{name}` is {is}, not {wanted}"));
        }
    }
    let mut forks = asked.forks.iter();
    for fork in known.forks.iter() {
        if forks.next() != Some(fork) {
            let (fork, epoch) = (fork.name.name(), fork.epoch);
            return pinned(format!(
                "fork {fork} of `{name}` is at epoch {epoch} with the version that is pinned"
            ));
        }
    }
    let now = known.epoch_of(known.slot_at(now_unix));
    match forks.find(|fork| fork.epoch <= now) {
        Some(fork) => {
            let (fork, epoch) = (fork.name.name(), fork.epoch);
            pinned(format!(
                "fork {fork} cannot be added to `{name}` at epoch {epoch}: it is epoch {now} already"
            ))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Fork, ForkName, ForkVersion, Preset, Root, Schedule};

    /// Its forks begin at these epochs; a slot takes a second.
    fn chain(epochs: &[u64]) -> Chain {
        let forks = ForkName::ALL.into_iter().zip(epochs).zip(0..);
        let forks = forks.map(|((name, &epoch), number)| Fork {
            name,
            epoch,
            version: ForkVersion([number; 4]),
        });
        Chain {
            name: "ethereum-test".to_owned(),
            genesis_validators_root: Root([1; 32]),
            genesis_time: 100,
            seconds_per_slot: 1,
            preset: Preset::Minimal,
            forks: Schedule::try_from(forks.collect::<Vec<_>>()).unwrap(),
        }
    }

    fn refused(asked: &Chain, now: u64) -> bool {
        let outcome = repin(&chain(&[0, 5]), asked, now);
        matches!(
            outcome,
            Err(Error::Precondition {
                reason: "CHAIN_PINNED",
                ..
            })
        )
    }

    #[test]
    fn forks_follow_before_they_begin_and_never_after() {
        let begin = 100 + 9 * 8;
        assert!(!refused(&chain(&[0, 5]), u64::MAX));
        assert!(!refused(&chain(&[0, 5, 9]), begin - 1));
        assert!(refused(&chain(&[0, 5, 9]), begin));
        assert!(refused(&chain(&[0, 5, 8, 20]), begin - 1));
        assert!(!refused(&chain(&[0, 5, 9, 9]), 0));
    }

    #[test]
    fn no_fork_that_is_known_changes_or_goes() {
        assert!(refused(&chain(&[0]), 0));
        assert!(refused(&chain(&[0, 6]), 0));
        let mut other = chain(&[0, 5]);
        let mut forks = Vec::from(other.forks);
        forks[1].version = ForkVersion([9; 4]);
        other.forks = Schedule::try_from(forks).unwrap();
        assert!(refused(&other, 0));
    }

    #[test]
    fn nothing_else_ever_changes() {
        let same = || chain(&[0, 5]);
        for other in [
            Chain {
                genesis_validators_root: Root([2; 32]),
                ..same()
            },
            Chain {
                genesis_time: 101,
                ..same()
            },
            Chain {
                seconds_per_slot: 2,
                ..same()
            },
            Chain {
                preset: Preset::Mainnet,
                ..same()
            },
        ] {
            assert!(refused(&other, 0), "{other:?}");
        }
    }
}
