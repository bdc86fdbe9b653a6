//! An upgrade: the way of a node from one revision of its chain's entry to
//! another, and what the health of the new one decides.

use super::Health;
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::BTreeMap;

/// Nobody looked for so long that the time does not count: a control plane that
/// was away says nothing of a node.
const BLIND: TimeDelta = TimeDelta::minutes(1);

/// How long images are tried for. One that is on its way when it is over still
/// comes: silence ends that.
const PULL: TimeDelta = TimeDelta::minutes(30);

/// How far an upgrade is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum UpgradeState {
    /// The images are on their way; the old version runs.
    Pulling,
    /// The new version was started and has to become healthy.
    Checking,
    /// The old version was started again and has to become healthy.
    RollingBack,
    /// The new version runs.
    Done,
    /// The old version runs again.
    RolledBack,
    /// It ended before anything was known of the new version.
    GivenUp,
    /// It needs a person.
    Failed,
}

/// What can happen to an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpgradeEvent {
    /// The images are there: the versions change places.
    Switch,
    /// What was started is healthy.
    Pass,
    /// The new version is not healthy, and its data can be read by the old one.
    Return,
    /// What was started is not healthy, and there is nothing to go back to.
    Fail,
    /// The images do not come, or the node is wanted otherwise.
    GiveUp,
}

impl UpgradeState {
    /// Whether it is under way.
    #[must_use]
    pub fn is_open(self) -> bool {
        match self {
            Self::Pulling | Self::Checking | Self::RollingBack => true,
            Self::Done | Self::RolledBack | Self::GivenUp | Self::Failed => false,
        }
    }

    /// What comes of an event; nothing where it cannot happen.
    #[must_use]
    pub fn after(self, event: UpgradeEvent) -> Option<Self> {
        use UpgradeEvent::{Fail, GiveUp, Pass, Return, Switch};
        match (event, self) {
            (Switch, Self::Pulling) => Some(Self::Checking),
            (Switch, Self::Checking | Self::RollingBack) => None,
            (Pass, Self::Checking) => Some(Self::Done),
            (Pass, Self::RollingBack) => Some(Self::RolledBack),
            (Pass, Self::Pulling) => None,
            (Return, Self::Checking) => Some(Self::RollingBack),
            (Return, Self::Pulling | Self::RollingBack) => None,
            (Fail, Self::Checking | Self::RollingBack) => Some(Self::Failed),
            (Fail, Self::Pulling) => None,
            (GiveUp, Self::Pulling | Self::Checking | Self::RollingBack) => Some(Self::GivenUp),
            (
                Switch | Pass | Return | Fail | GiveUp,
                Self::Done | Self::RolledBack | Self::GivenUp | Self::Failed,
            ) => None,
        }
    }
}

/// One side of an upgrade: a revision of the entry, and what runs with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// The revision.
    pub revision: i64,
    /// Its version, as people know it.
    pub version: String,
    /// The settings that the node has with it.
    pub settings: BTreeMap<String, String>,
}

/// The way of a node from one revision to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// Where it came from.
    pub from: Side,
    /// Where it is to come.
    pub to: Side,
    /// Whether the old version can read what the new one leaves.
    pub reversible: bool,
    /// How far it is.
    pub state: UpgradeState,
    /// Why it did not come to the new version, for people.
    pub reason: String,
    /// What is known of the health of what was started.
    pub gate: Gate,
    /// When it was asked for.
    pub create_time: DateTime<Utc>,
}

impl Upgrade {
    /// An upgrade as it begins.
    #[must_use]
    pub fn begin(from: Side, to: Side, reversible: bool, now: DateTime<Utc>) -> Self {
        Self {
            from,
            to,
            reversible,
            state: UpgradeState::Pulling,
            reason: String::new(),
            gate: Gate::opened(now, PULL),
            create_time: now,
        }
    }
}

/// What is known of the health of a version that was started.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Gate {
    /// Until when it has to be healthy; while the images come, until when they
    /// are tried for.
    pub deadline: DateTime<Utc>,
    /// When somebody looked last.
    pub look_time: DateTime<Utc>,
    /// Since when it is healthy.
    pub steady_time: Option<DateTime<Utc>>,
    /// How often its containers were started again until then.
    pub restarts: i64,
    /// Height at the first look that saw one.
    pub height: Option<i64>,
}

impl Gate {
    /// A gate that opens now.
    #[must_use]
    pub fn opened(now: DateTime<Utc>, lasts: TimeDelta) -> Self {
        Self {
            deadline: now + lasts,
            look_time: now,
            steady_time: None,
            restarts: 0,
            height: None,
        }
    }
}

/// What was seen of a version that was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look<'a> {
    /// When.
    pub now: DateTime<Utc>,
    /// Whether it answers, or why not.
    pub answers: Result<(), &'a str>,
    /// What its own signals say.
    pub health: Health,
    /// Height that it has, where it tells one.
    pub height: Option<i64>,
    /// How often its containers were started again, where they can be seen.
    pub restarts: Option<i64>,
}

/// What follows of a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// It is healthy and stayed so.
    Pass,
    /// It is not, and its time is over.
    Miss(String),
    /// Look again.
    Wait,
}

impl Gate {
    /// Decides, and keeps what has to be known at the next look.
    ///
    /// Catching up is healthy where blocks come in: a version that cannot follow
    /// its chain answers too, and stands still.
    #[must_use]
    pub fn judge(&self, look: &Look<'_>, steady: TimeDelta) -> (Self, Ruling) {
        let away = look.now - self.look_time;
        let away = if away > BLIND {
            away
        } else {
            TimeDelta::zero()
        };
        let restarts = look.restarts.unwrap_or(self.restarts);
        let mut next = Self {
            deadline: self.deadline + away,
            look_time: look.now,
            steady_time: None,
            restarts,
            height: self.height.or(look.height),
        };
        let stands = look.health == Health::Syncing
            && matches!((next.height, look.height), (Some(first), Some(now)) if now <= first);
        let trouble = if let Err(why) = look.answers {
            Some(why)
        } else if restarts > self.restarts {
            Some("a container of it was started again")
        } else if stands {
            Some("it catches up, and no block came in since it was started")
        } else {
            None
        };
        if let Some(why) = trouble {
            let over = look.now >= next.deadline;
            let ruling = if over {
                Ruling::Miss(why.to_owned())
            } else {
                Ruling::Wait
            };
            return (next, ruling);
        }
        let since = match self.steady_time {
            Some(since) if away.is_zero() => since,
            Some(_) | None => look.now,
        };
        next.steady_time = Some(since);
        let stayed = look.now - since >= steady;
        (next, if stayed { Ruling::Pass } else { Ruling::Wait })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use UpgradeState as S;

    #[test]
    fn every_state_and_event_is_decided() {
        let states = [
            S::Pulling,
            S::Checking,
            S::RollingBack,
            S::Done,
            S::RolledBack,
            S::GivenUp,
            S::Failed,
        ];
        let table = [
            (UpgradeEvent::Switch, "C......"),
            (UpgradeEvent::Pass, ".DB...."),
            (UpgradeEvent::Return, ".R....."),
            (UpgradeEvent::Fail, ".FF...."),
            (UpgradeEvent::GiveUp, "GGG...."),
        ];
        for (event, row) in table {
            let seen: String = states
                .iter()
                .map(|state| match state.after(event) {
                    Some(S::Pulling) => 'P',
                    Some(S::Checking) => 'C',
                    Some(S::RollingBack) => 'R',
                    Some(S::Done) => 'D',
                    Some(S::RolledBack) => 'B',
                    Some(S::GivenUp) => 'G',
                    Some(S::Failed) => 'F',
                    None => '.',
                })
                .collect();
            assert_eq!(seen, row, "{event:?}");
        }
        let open: Vec<bool> = states.iter().map(|state| state.is_open()).collect();
        assert_eq!(open, [true, true, true, false, false, false, false]);
    }

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
    }

    /// What is seen at a second, and the ruling in a letter: `w` to wait, `p` to
    /// pass, `m` to miss.
    type Row<'a> = (i64, Result<(), &'a str>, Health, Option<i64>, i64, char);

    fn walk(what: &str, rows: &[Row<'_>]) -> Gate {
        let mut gate = Gate::opened(at(0), TimeDelta::seconds(100));
        for (second, answers, health, height, restarts, expected) in rows {
            let look = Look {
                now: at(*second),
                answers: *answers,
                health: *health,
                height: *height,
                restarts: Some(*restarts),
            };
            let (next, ruling) = gate.judge(&look, TimeDelta::seconds(10));
            let seen = match ruling {
                Ruling::Wait => 'w',
                Ruling::Pass => 'p',
                Ruling::Miss(_) => 'm',
            };
            assert_eq!(seen, *expected, "{what}: second {second}");
            gate = next;
        }
        gate
    }

    #[test]
    fn a_version_passes_when_it_is_healthy_and_stays_so() {
        use Health::{Healthy, Unknown};
        const NO: Result<(), &str> = Err("no signal");
        walk(
            "at once",
            &[
                (5, NO, Unknown, None, 0, 'w'),
                (10, Ok(()), Healthy, None, 0, 'w'),
                (19, Ok(()), Healthy, None, 0, 'w'),
                (20, Ok(()), Healthy, None, 0, 'p'),
            ],
        );
        walk(
            "a stumble begins anew, and health after the deadline still counts",
            &[
                (50, Ok(()), Healthy, None, 0, 'w'),
                (59, NO, Unknown, None, 0, 'w'),
                (95, Ok(()), Healthy, None, 0, 'w'),
                (104, Ok(()), Healthy, None, 0, 'w'),
                (105, Ok(()), Healthy, None, 0, 'p'),
            ],
        );
    }

    #[test]
    fn a_version_misses_when_it_does_not_answer_falls_again_or_stands_still() {
        use Health::{Healthy, Syncing, Unknown};
        walk(
            "silent",
            &[
                (60, Err("no signal"), Unknown, None, 0, 'w'),
                (99, Err("no signal"), Unknown, None, 0, 'w'),
                (100, Err("no signal"), Unknown, None, 0, 'm'),
            ],
        );
        walk(
            "a crash loop that is seen healthy each time",
            &[
                (50, Ok(()), Healthy, None, 1, 'w'),
                (58, Ok(()), Healthy, None, 1, 'w'),
                (70, Ok(()), Healthy, None, 2, 'w'),
                (78, Ok(()), Healthy, None, 2, 'w'),
                (100, Ok(()), Healthy, None, 3, 'm'),
            ],
        );
        walk(
            "it catches up and no block comes in",
            &[
                (50, Ok(()), Syncing, Some(7), 0, 'w'),
                (80, Ok(()), Syncing, Some(7), 0, 'w'),
                (100, Ok(()), Syncing, Some(7), 0, 'm'),
            ],
        );
        walk(
            "it catches up",
            &[
                (50, Ok(()), Syncing, Some(7), 0, 'w'),
                (60, Ok(()), Syncing, Some(8), 0, 'w'),
                (70, Ok(()), Syncing, Some(9), 0, 'p'),
            ],
        );
        walk(
            "it catches up and tells no height",
            &[
                (50, Ok(()), Syncing, None, 0, 'w'),
                (60, Ok(()), Syncing, None, 0, 'p'),
            ],
        );
    }

    #[test]
    fn time_in_which_nobody_looked_does_not_count() {
        use Health::{Healthy, Unknown};
        let gate = walk(
            "an hour away",
            &[
                (10, Ok(()), Healthy, None, 0, 'w'),
                (3610, Err("no signal"), Unknown, None, 0, 'w'),
                (3650, Err("no signal"), Unknown, None, 0, 'w'),
            ],
        );
        assert_eq!(gate.deadline, at(3700));
        walk(
            "healthy before and after, unseen between",
            &[
                (10, Ok(()), Healthy, None, 0, 'w'),
                (3610, Ok(()), Healthy, None, 0, 'w'),
                (3620, Ok(()), Healthy, None, 0, 'p'),
            ],
        );
    }
}
