//! A network as the catalogue pins it; what a request says of it is compared
//! and never believed.

use super::Root;

/// Which sizes a network's containers have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Preset {
    /// Public networks.
    Mainnet,
    /// Small test networks.
    Minimal,
}

impl Preset {
    /// Slots of an epoch.
    #[must_use]
    pub const fn slots_per_epoch(self) -> u64 {
        match self {
            Self::Mainnet => 32,
            Self::Minimal => 8,
        }
    }
}

/// The forks, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

/// One fork of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fork {
    /// Which.
    pub name: ForkName,
    /// First epoch.
    pub epoch: u64,
    /// Version that domains are made of.
    pub version: [u8; 4],
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
    /// The schedule, oldest first; the first is at epoch 0.
    pub forks: Vec<Fork>,
}

impl Chain {
    /// The slot at a Unix time; 0 before genesis.
    #[must_use]
    pub fn slot_at(&self, unix_seconds: u64) -> u64 {
        unix_seconds.saturating_sub(self.genesis_time) / u64::from(self.seconds_per_slot.max(1))
    }

    /// The epoch of a slot.
    #[must_use]
    pub fn epoch_of(&self, slot: u64) -> u64 {
        slot / self.preset.slots_per_epoch()
    }

    /// The fork that rules an epoch; `None` for an empty schedule.
    #[must_use]
    pub fn fork_at(&self, epoch: u64) -> Option<&Fork> {
        self.forks.iter().rev().find(|fork| fork.epoch <= epoch)
    }
}
