//! What an endpoint that is not the machine's own says of validators: where
//! they stand on the chain, and in which epochs they were active.

use super::Activity;
use chrono::{DateTime, TimeDelta, Utc};
use std::str::FromStr;

/// When the slots and epochs of a chain are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calendar {
    /// Unix time of slot 0.
    pub genesis_time: u64,
    /// Length of a slot, in seconds.
    pub slot_s: u64,
    /// Slots of an epoch.
    pub slots_per_epoch: u64,
}

impl Calendar {
    /// The slot at a time; 0 before genesis.
    #[must_use]
    pub fn slot_at(&self, now: DateTime<Utc>) -> u64 {
        let now = u64::try_from(now.timestamp()).unwrap_or(0);
        now.saturating_sub(self.genesis_time) / self.slot_s.max(1)
    }

    /// The epoch of a slot.
    #[must_use]
    pub fn epoch_of(&self, slot: u64) -> u64 {
        slot / self.slots_per_epoch.max(1)
    }

    /// Length of an epoch.
    #[must_use]
    pub fn epoch(&self) -> TimeDelta {
        seconds(self.slots_per_epoch.saturating_mul(self.slot_s))
    }

    /// When an epoch begins; the end of time where that is too late to write.
    #[must_use]
    pub fn starts(&self, epoch: u64) -> DateTime<Utc> {
        let length = self.slots_per_epoch.saturating_mul(self.slot_s);
        let time = self
            .genesis_time
            .saturating_add(epoch.saturating_mul(length));
        let time = i64::try_from(time).ok();
        time.and_then(|time| DateTime::from_timestamp(time, 0))
            .unwrap_or(DateTime::<Utc>::MAX_UTC)
    }
}

fn seconds(number: u64) -> TimeDelta {
    let number = i64::try_from(number).ok();
    number
        .and_then(TimeDelta::try_seconds)
        .unwrap_or(TimeDelta::MAX)
}

/// Where a validator is in its life, in the words of the beacon API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeaconStatus {
    /// The chain does not know it.
    Unknown,
    /// Its deposit is too small or not looked at yet.
    PendingInitialized,
    /// Waits for its turn.
    PendingQueued,
    /// Has duties.
    ActiveOngoing,
    /// Has duties, and leaves.
    ActiveExiting,
    /// Was slashed, and leaves.
    ActiveSlashed,
    /// Left.
    ExitedUnslashed,
    /// Was slashed, and left.
    ExitedSlashed,
    /// Left, and its stake can be taken.
    WithdrawalPossible,
    /// Left, and its stake was taken.
    WithdrawalDone,
}

/// A word that is no status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a status of a validator")]
pub struct NoStatus;

impl BeaconStatus {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Unknown,
        Self::PendingInitialized,
        Self::PendingQueued,
        Self::ActiveOngoing,
        Self::ActiveExiting,
        Self::ActiveSlashed,
        Self::ExitedUnslashed,
        Self::ExitedSlashed,
        Self::WithdrawalPossible,
        Self::WithdrawalDone,
    ];

    /// Its word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::PendingInitialized => "pending_initialized",
            Self::PendingQueued => "pending_queued",
            Self::ActiveOngoing => "active_ongoing",
            Self::ActiveExiting => "active_exiting",
            Self::ActiveSlashed => "active_slashed",
            Self::ExitedUnslashed => "exited_unslashed",
            Self::ExitedSlashed => "exited_slashed",
            Self::WithdrawalPossible => "withdrawal_possible",
            Self::WithdrawalDone => "withdrawal_done",
        }
    }

    /// Whether it has duties that an epoch shows.
    #[must_use]
    pub const fn has_duties(self) -> bool {
        matches!(self, Self::ActiveOngoing | Self::ActiveExiting)
    }
}

impl FromStr for BeaconStatus {
    type Err = NoStatus;

    fn from_str(word: &str) -> Result<Self, NoStatus> {
        let known = Self::ALL.into_iter().find(|status| status.name() == word);
        known.ok_or(NoStatus)
    }
}

/// What a validator did in the epochs that were looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Track {
    /// The newest epoch in which it was active.
    pub seen_epoch: Option<u64>,
    /// First and last of the newest epochs without a gap in which it had to
    /// vote and nothing of it was seen.
    pub silent: Option<(u64, u64)>,
}

impl Track {
    /// The same after one more epoch.
    #[must_use]
    pub fn after(self, epoch: u64, index: u64, activity: &Activity) -> Self {
        if activity.seen.contains(&index) {
            return Self {
                seen_epoch: Some(epoch),
                silent: None,
            };
        }
        let on_duty = activity.on_duty.contains(&index);
        let first = match self.silent {
            Some((first, last)) if last.checked_add(1) == Some(epoch) => first,
            Some(_) | None => epoch,
        };
        Self {
            silent: on_duty.then_some((first, epoch)),
            ..self
        }
    }
}

/// A validator as it was observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Its key, `0x` and hex digits.
    pub public_key: String,
    /// Its number on the chain, once it has one.
    pub index: Option<u64>,
    /// Where it is in its life there.
    pub status: BeaconStatus,
    /// Whether it was slashed.
    pub slashed: bool,
    /// In Gwei.
    pub balance: u64,
    /// The epoch of the state that said so.
    pub epoch: u64,
    /// What it did.
    pub track: Track,
}

/// The validators of a node as they were observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnChain {
    /// When the epochs of the chain are.
    pub calendar: Calendar,
    /// Each of them.
    pub validators: Vec<Observed>,
}

impl OnChain {
    /// How many are so.
    pub fn count(&self, is: impl Fn(&Observed) -> bool) -> usize {
        self.validators.iter().filter(|one| is(one)).count()
    }

    /// All balances, in Gwei.
    #[must_use]
    pub fn balance(&self) -> u64 {
        let balances = self.validators.iter().map(|one| one.balance);
        balances.fold(0, u64::saturating_add)
    }

    /// How many that have duties were silent in the two newest epochs that were
    /// looked at, both of which began at or after `since`.
    #[must_use]
    pub fn silent(&self, since: Option<DateTime<Utc>>) -> usize {
        self.count(|one| {
            let long = one.track.silent.filter(|(first, last)| last > first);
            one.status.has_duties()
                && long.is_some_and(|(_, last)| {
                    let begun = self.calendar.starts(last.saturating_sub(1));
                    since.is_none_or(|since| begun >= since)
                })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn epoch(on_duty: bool, seen: bool) -> Activity {
        let set = |there: bool| there.then_some(7).into_iter().collect::<BTreeSet<_>>();
        Activity {
            on_duty: set(on_duty),
            seen: set(seen),
        }
    }

    /// What is known of validator 7 after epochs from 10 on: on duty, seen.
    fn track(epochs: &[(bool, bool)]) -> Track {
        let epochs = (10..).zip(epochs);
        epochs.fold(Track::default(), |track, (number, (on_duty, seen))| {
            track.after(number, 7, &epoch(*on_duty, *seen))
        })
    }

    #[test]
    fn silence_is_of_epochs_with_a_duty_without_a_gap() {
        const SEEN: (bool, bool) = (true, true);
        const SILENT: (bool, bool) = (true, false);
        const IDLE: (bool, bool) = (false, false);
        const PROPOSED: (bool, bool) = (false, true);
        for (epochs, seen_epoch, silent) in [
            (&[SEEN][..], Some(10), None),
            (&[SILENT], None, Some((10, 10))),
            (&[SILENT, SILENT, SILENT], None, Some((10, 12))),
            (&[SEEN, SILENT, SILENT], Some(10), Some((11, 12))),
            (&[SILENT, SILENT, SEEN], Some(12), None),
            (&[SILENT, PROPOSED, SILENT], Some(11), Some((12, 12))),
            (&[SILENT, IDLE, SILENT], None, Some((12, 12))),
            (&[IDLE], None, None),
        ] {
            let wanted = Track { seen_epoch, silent };
            assert_eq!(track(epochs), wanted, "{epochs:?}");
        }
        // An epoch that nobody looked at is a gap too.
        let gap = track(&[SILENT, SILENT]).after(13, 7, &epoch(true, false));
        assert_eq!(gap.silent, Some((13, 13)));
    }

    #[test]
    fn every_status_has_one_word() {
        for status in BeaconStatus::ALL {
            assert_eq!(status.name().parse(), Ok(status));
        }
        assert_eq!("active".parse::<BeaconStatus>(), Err(NoStatus));
    }

    #[test]
    fn a_calendar_counts_slots_from_genesis_and_never_panics() {
        let calendar = Calendar {
            genesis_time: 1000,
            slot_s: 2,
            slots_per_epoch: 8,
        };
        let at = |time| DateTime::from_timestamp(time, 0).unwrap();
        assert_eq!(calendar.slot_at(at(0)), 0);
        assert_eq!(calendar.slot_at(at(1033)), 16);
        assert_eq!(calendar.epoch_of(16), 2);
        assert_eq!(calendar.starts(2), at(1032));
        assert_eq!(calendar.epoch(), TimeDelta::seconds(16));
        assert_eq!(calendar.starts(u64::MAX), DateTime::<Utc>::MAX_UTC);
        let absurd = Calendar {
            genesis_time: u64::MAX,
            slot_s: 0,
            slots_per_epoch: 0,
        };
        assert_eq!(absurd.slot_at(at(5)), 0);
        assert_eq!(absurd.epoch_of(5), 5);
        assert_eq!(absurd.epoch(), TimeDelta::zero());
    }
}
