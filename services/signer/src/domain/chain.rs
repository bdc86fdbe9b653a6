//! A network as the catalogue pins it; what a request says of it is compared
//! and never believed.

use super::{ForkVersion, Root};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// Which sizes a network's containers have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Preset {
    /// Public networks.
    Mainnet,
    /// Small test networks.
    Minimal,
}

/// A name that is no preset's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a preset is `mainnet` or `minimal`")]
pub struct UnknownPreset;

impl Preset {
    /// Slots of an epoch.
    #[must_use]
    pub const fn slots_per_epoch(self) -> u64 {
        match self {
            Self::Mainnet => 32,
            Self::Minimal => 8,
        }
    }

    /// The name in configuration, in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mainnet => "mainnet",
            Self::Minimal => "minimal",
        }
    }
}

impl FromStr for Preset {
    type Err = UnknownPreset;

    fn from_str(name: &str) -> Result<Self, UnknownPreset> {
        [Self::Mainnet, Self::Minimal]
            .into_iter()
            .find(|preset| preset.name() == name)
            .ok_or(UnknownPreset)
    }
}

/// The forks, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ForkName {
    /// Genesis.
    Phase0,
    /// Sync committees.
    Altair,
    /// The merge.
    Bellatrix,
    /// Withdrawals.
    Capella,
    /// Blobs.
    Deneb,
    /// Larger balances; attestations of several committees.
    Electra,
    /// Data columns.
    Fulu,
}

/// A name that is no fork's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a fork that is known here")]
pub struct UnknownFork;

impl ForkName {
    /// All of them, oldest first.
    pub const ALL: [Self; 7] = [
        Self::Phase0,
        Self::Altair,
        Self::Bellatrix,
        Self::Capella,
        Self::Deneb,
        Self::Electra,
        Self::Fulu,
    ];

    /// The name in configuration, in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Phase0 => "phase0",
            Self::Altair => "altair",
            Self::Bellatrix => "bellatrix",
            Self::Capella => "capella",
            Self::Deneb => "deneb",
            Self::Electra => "electra",
            Self::Fulu => "fulu",
        }
    }
}

impl FromStr for ForkName {
    type Err = UnknownFork;

    /// In either case: configuration writes `capella`, clients `CAPELLA`.
    fn from_str(name: &str) -> Result<Self, UnknownFork> {
        Self::ALL
            .into_iter()
            .find(|fork| fork.name().eq_ignore_ascii_case(name))
            .ok_or(UnknownFork)
    }
}

/// One fork of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fork {
    /// Which.
    pub name: ForkName,
    /// First epoch.
    pub epoch: u64,
    /// Version that domains are made of.
    pub version: ForkVersion,
}

/// The forks of a network: phase0 at epoch 0, then each that followed, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Fork>", into = "Vec<Fork>")]
pub struct Schedule {
    genesis: Fork,
    later: Vec<Fork>,
}

/// Why a list of forks is no schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("forks begin with phase0 at epoch 0 and follow in order, none left out")]
pub struct NotASchedule;

impl TryFrom<Vec<Fork>> for Schedule {
    type Error = NotASchedule;

    fn try_from(forks: Vec<Fork>) -> Result<Self, NotASchedule> {
        let names = forks.iter().map(|fork| fork.name);
        let complete = names.eq(ForkName::ALL.into_iter().take(forks.len()));
        let in_order = forks.is_sorted_by_key(|fork| fork.epoch);
        let mut forks = forks.into_iter();
        match forks.next() {
            Some(genesis) if genesis.epoch == 0 && complete && in_order => Ok(Self {
                genesis,
                later: forks.collect(),
            }),
            _ => Err(NotASchedule),
        }
    }
}

impl From<Schedule> for Vec<Fork> {
    fn from(schedule: Schedule) -> Self {
        schedule.iter().copied().collect()
    }
}

impl Schedule {
    /// All forks, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Fork> {
        std::iter::once(&self.genesis).chain(&self.later)
    }

    /// The first one.
    #[must_use]
    pub const fn genesis(&self) -> &Fork {
        &self.genesis
    }

    /// The fork that rules an epoch.
    #[must_use]
    pub fn at(&self, epoch: u64) -> &Fork {
        let begun = |fork: &&Fork| fork.epoch <= epoch;
        self.later.iter().rev().find(begun).unwrap_or(&self.genesis)
    }

    /// The fork of that name, where the network has it.
    #[must_use]
    pub fn named(&self, name: ForkName) -> Option<&Fork> {
        self.iter().find(|fork| fork.name == name)
    }
}

/// A pinned network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Name in the catalogue.
    pub name: String,
    /// What every domain is bound to.
    pub genesis_validators_root: Root,
    /// Unix time of slot 0.
    pub genesis_time: u64,
    /// Length of a slot.
    pub seconds_per_slot: u32,
    /// Sizes of containers.
    pub preset: Preset,
    /// When its rules change.
    pub forks: Schedule,
}

impl Chain {
    /// The slot at a Unix time; 0 before genesis.
    #[must_use]
    pub fn slot_at(&self, unix_seconds: u64) -> u64 {
        unix_seconds.saturating_sub(self.genesis_time) / u64::from(self.seconds_per_slot.max(1))
    }

    /// The epoch of a slot.
    #[must_use]
    pub const fn epoch_of(&self, slot: u64) -> u64 {
        slot / self.preset.slots_per_epoch()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fork(name: ForkName, epoch: u64) -> Fork {
        let version = ForkVersion([0, 0, 0, name as u8]);
        Fork {
            name,
            epoch,
            version,
        }
    }

    #[test]
    fn an_epoch_is_ruled_by_the_last_fork_that_has_begun() {
        let schedule = Schedule::try_from(vec![
            fork(ForkName::Phase0, 0),
            fork(ForkName::Altair, 0),
            fork(ForkName::Bellatrix, 10),
            fork(ForkName::Capella, u64::MAX),
        ])
        .unwrap();
        let at = |epoch| schedule.at(epoch).name;
        assert_eq!(at(0), ForkName::Altair);
        assert_eq!(at(9), ForkName::Altair);
        assert_eq!(at(10), ForkName::Bellatrix);
        assert_eq!(at(u64::MAX - 1), ForkName::Bellatrix);
        assert_eq!(schedule.genesis().name, ForkName::Phase0);
        assert_eq!(schedule.named(ForkName::Deneb), None);
    }

    #[test]
    fn a_schedule_begins_at_genesis_and_leaves_no_fork_out() {
        use ForkName::{Altair, Bellatrix, Phase0};
        let twice = [fork(Phase0, 0); 8].to_vec();
        for forks in [
            vec![],
            vec![fork(Phase0, 1)],
            vec![fork(Altair, 0)],
            vec![fork(Phase0, 0), fork(Bellatrix, 1)],
            vec![fork(Phase0, 0), fork(Altair, 2), fork(Bellatrix, 1)],
            twice,
        ] {
            assert_eq!(
                Schedule::try_from(forks.clone()),
                Err(NotASchedule),
                "{forks:?}"
            );
        }
    }

    #[test]
    fn a_schedule_is_kept_as_a_list_and_checked_when_it_is_read() {
        let text = r#"[{"name":"phase0","epoch":0,"version":"0x00000001"}]"#;
        let schedule: Schedule = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&schedule).unwrap(), text);
        assert!(serde_json::from_str::<Schedule>("[]").is_err());
    }

    #[test]
    fn forks_and_presets_are_known_by_their_names() {
        for fork in ForkName::ALL {
            assert_eq!(fork.name().parse(), Ok(fork));
            assert_eq!(fork.name().to_uppercase().parse(), Ok(fork));
        }
        assert_eq!("gloas".parse::<ForkName>(), Err(UnknownFork));
        for preset in [Preset::Mainnet, Preset::Minimal] {
            assert_eq!(preset.name().parse(), Ok(preset));
        }
        assert_eq!("gnosis".parse::<Preset>(), Err(UnknownPreset));
    }
}
