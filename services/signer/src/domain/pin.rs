//! What may change of a network that is pinned: forks may follow those that are
//! known. Nothing else, ever.
//!
//! One that has begun may follow too: a catalogue that learns of it late must not
//! silence its validators. That is safe, since watermarks know no fork. Who
//! knows fewer, such as a node of an older entry, changes nothing.

use super::Chain;
use berth_core::{Error, Result};

/// Whether `asked` knows forks that follow those that are known.
///
/// # Errors
///
/// [`Error::Precondition`] that says what differs.
pub fn repin(known: &Chain, asked: &Chain) -> Result<bool> {
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
    for (fork, wanted) in known.forks.iter().zip(asked.forks.iter()) {
        if fork != wanted {
            let (fork, epoch) = (fork.name.name(), fork.epoch);
            return pinned(format!(
                "fork {fork} of `{name}` is at epoch {epoch} with the version that is pinned"
            ));
        }
    }
    Ok(asked.forks.iter().count() > known.forks.iter().count())
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

    fn refused(asked: &Chain) -> bool {
        let outcome = repin(&chain(&[0, 5]), asked);
        matches!(
            outcome,
            Err(Error::Precondition {
                reason: "CHAIN_PINNED",
                ..
            })
        )
    }

    #[test]
    fn forks_follow_those_that_are_known() {
        for (epochs, more) in [
            (&[0][..], false),
            (&[0, 5], false),
            (&[0, 5, 5], true),
            (&[0, 5, 9, 20], true),
        ] {
            let known = repin(&chain(&[0, 5]), &chain(epochs));
            assert_eq!(known.ok(), Some(more), "{epochs:?}");
        }
    }

    #[test]
    fn no_fork_that_is_known_changes() {
        assert!(refused(&chain(&[0, 6])));
        let mut other = chain(&[0, 5]);
        let mut forks = Vec::from(other.forks);
        forks[1].version = ForkVersion([9; 4]);
        other.forks = Schedule::try_from(forks).unwrap();
        assert!(refused(&other));
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
            assert!(refused(&other), "{other:?}");
        }
    }
}
