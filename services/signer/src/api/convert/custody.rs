//! What was seen of a key on its chain, and the chain as it is pinned.

use super::super::pb;
use super::number;
use crate::domain::Chain;
use crate::domain::custody::Seen;
use berth_core::{Error, Result, Violations};
use pb::report_observation_request::Seen as Told;

/// Longest status of a validator.
const WORD: usize = 32;

/// What was seen.
pub(in super::super) fn seen(told: Option<Told>) -> Result<Seen> {
    match told {
        Some(Told::Silent(silent)) => {
            let mut violations = Violations::default();
            number(&mut violations, "silent.first_epoch", silent.first_epoch);
            number(&mut violations, "silent.last_epoch", silent.last_epoch);
            if silent.first_epoch > silent.last_epoch {
                violations.add("silent.last_epoch", "is before `first_epoch`");
            }
            violations.finish(Some(Seen::Silent {
                first: silent.first_epoch,
                last: silent.last_epoch,
            }))
        }
        Some(Told::Active(active)) => {
            let mut violations = Violations::default();
            number(&mut violations, "active.epoch", active.epoch);
            violations.finish(Some(Seen::Active {
                epoch: active.epoch,
            }))
        }
        Some(Told::Idle(idle)) => {
            let is_word = |word: &String| {
                let known = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
                (1..=WORD).contains(&word.len()) && word.bytes().all(known)
            };
            let status = Some(idle.status).filter(is_word);
            let status = status.ok_or_else(|| Error::invalid("idle.status", "is no status"))?;
            Ok(Seen::Idle { status })
        }
        None => Err(Error::invalid("seen", "is required")),
    }
}

impl From<Chain> for pb::SigningChain {
    fn from(chain: Chain) -> Self {
        let forks = chain.forks.iter().map(|fork| pb::SigningFork {
            name: fork.name.name().to_owned(),
            epoch: fork.epoch,
            version: fork.version.0.to_vec(),
        });
        Self {
            genesis_validators_root: chain.genesis_validators_root.0.to_vec(),
            genesis_time: chain.genesis_time,
            seconds_per_slot: chain.seconds_per_slot,
            preset: chain.preset.name().to_owned(),
            forks: forks.collect(),
            name: chain.name,
        }
    }
}
