//! Duty as a pure function of health, the newest samples and a short stretch of
//! counters: a node that runs need not be earning.
//!
//! Deliberately absent: names of any chain's metrics. They come with its entry.

use super::{BeaconStatus, Health, OnChain, Readings, State};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// One miss in so many duties is borne.
const ONE_IN: u128 = 10;

/// Series that tell whether a node does its duty, from the chain's entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signs {
    /// Counts duties done.
    pub done: String,
    /// Counts duties missed.
    pub missed: String,
    /// Above zero while a validator of the node is active.
    pub in_set: String,
    /// Counts what the signer refused.
    pub refused: Option<String>,
    /// 1 while the node follows the chain and cannot do its duty.
    pub unready: Option<String>,
    /// How far to look back, in seconds.
    pub window_s: i64,
}

impl Signs {
    /// The counters among them.
    pub fn counters(&self) -> impl Iterator<Item = &str> {
        [Some(&self.done), Some(&self.missed), self.refused.as_ref()]
            .into_iter()
            .flatten()
            .map(String::as_str)
    }
}

/// One sample of a counter.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Count {
    /// Name of the counter.
    pub name: String,
    /// When.
    pub time: DateTime<Utc>,
    /// What; hostile, so it may be anything that a float can be.
    pub value: f64,
}

/// Duty in one word. JAILED comes with the chains that jail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DutyState {
    /// Nothing tells yet.
    Unknown,
    /// Catching up with the chain.
    Syncing,
    /// None of its validators is active.
    NotInSet,
    /// Does its duty.
    Earning,
    /// Misses it.
    Delinquent,
    /// Shut out for ever.
    Tombstoned,
    /// On its way out.
    Exiting,
    /// Out.
    Exited,
}

/// What the chain says of a node's duty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duty {
    /// In one word.
    pub state: DutyState,
    /// Why, for people. It counts validators and nothing else, so that it changes
    /// only when it has to.
    pub reason: Cow<'static, str>,
    /// How often the duty was done.
    pub done: u64,
    /// How often it was missed since it was first done, or at all.
    pub missed: u64,
    /// All balances of its validators, in Gwei, where they were seen on chain.
    pub balance: Option<u64>,
}

/// What there is to judge by.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// The newest samples of the node.
    pub readings: &'a Readings,
    /// The samples of its counters, oldest first, that lie in the window.
    pub window: &'a [Count],
    /// What an endpoint that is not the machine's own says of its validators.
    /// Where it contradicts the machine, it is believed.
    pub on_chain: Option<&'a OnChain>,
}

/// Judges a node that is meant to be `running`.
#[must_use]
pub fn duty(signs: &Signs, health: &Health, told: Told<'_>, running: bool) -> Duty {
    let seen = Seen::new(signs, told.window);
    let (state, reason) = told
        .on_chain
        .and_then(gone)
        .unwrap_or_else(|| by_signals(signs, health, told, &seen, running));
    Duty {
        state,
        reason,
        done: whole(seen.done),
        missed: whole(seen.missed),
        balance: told.on_chain.map(OnChain::balance),
    }
}

type Judged = (DutyState, Cow<'static, str>);

/// What no machine changes any more: one slashed validator is told first; who
/// leaves or left, once no other one of the node has duties.
fn gone(on_chain: &OnChain) -> Option<Judged> {
    let total = on_chain.validators.len();
    let told = |count: usize, what| Cow::Owned(format!("{count} of {total} validators {what}"));
    let slashed = on_chain.count(|one| one.slashed);
    let exiting = on_chain.count(|one| one.status == BeaconStatus::ActiveExiting);
    let exited = on_chain.count(|one| match one.status {
        BeaconStatus::ExitedUnslashed
        | BeaconStatus::ExitedSlashed
        | BeaconStatus::WithdrawalPossible
        | BeaconStatus::WithdrawalDone => true,
        BeaconStatus::Unknown
        | BeaconStatus::PendingInitialized
        | BeaconStatus::PendingQueued
        | BeaconStatus::ActiveOngoing
        | BeaconStatus::ActiveExiting
        | BeaconStatus::ActiveSlashed => false,
    });
    let ongoing = on_chain.count(|one| one.status == BeaconStatus::ActiveOngoing);
    match (slashed, ongoing, exiting, exited) {
        (1.., _, _, _) => Some((DutyState::Tombstoned, told(slashed, "slashed"))),
        (0, 0, 1.., _) => Some((DutyState::Exiting, told(exiting, "leaving"))),
        (0, 0, 0, _) if exited > 0 && exited == total => {
            Some((DutyState::Exited, told(exited, "exited")))
        }
        (0, _, _, _) => None,
    }
}

fn by_signals(
    signs: &Signs,
    health: &Health,
    told: Told<'_>,
    seen: &Seen,
    running: bool,
) -> Judged {
    let (readings, on_chain) = (told.readings, told.on_chain);
    let has_duties = |on_chain: &OnChain| on_chain.count(|one| one.status.has_duties()) > 0;
    let claimed = readings.flag(&signs.in_set);
    let active = on_chain.map(has_duties).or(claimed);
    let unready = signs.unready.as_ref().and_then(|name| readings.flag(name));
    let behind = health.state == State::Syncing || unready == Some(true);
    let (state, reason) = match active {
        _ if !running => (DutyState::Unknown, "stopped by its owner"),
        _ if health.signal_time.is_none() => (DutyState::Unknown, "no signal has come yet"),
        Some(true) if health.silent => (
            DutyState::Delinquent,
            "machine silent: it, its network or the agent is down",
        ),
        _ if health.silent => (DutyState::Unknown, "no signal for too long"),
        Some(true) if behind && seen.misses() => (
            DutyState::Delinquent,
            "node behind: it has fallen back and cannot do its duty",
        ),
        _ if behind => (DutyState::Syncing, "catching up with the chain"),
        None => (
            DutyState::Unknown,
            "nothing tells yet whether a validator is active",
        ),
        Some(false) => (DutyState::NotInSet, "none of its validators is active"),
        Some(true) => return active_one(health, seen, signs.window_s, on_chain),
    };
    (state, Cow::Borrowed(reason))
}

/// Judges a node whose validators are active and which follows the chain.
fn active_one(health: &Health, seen: &Seen, window_s: i64, on_chain: Option<&OnChain>) -> Judged {
    let unseen = on_chain.and_then(|on_chain| unseen(on_chain, seen));
    let reason = if unseen.is_none() && seen.earns() {
        return (DutyState::Earning, Cow::Borrowed(""));
    } else if health.state == State::Down {
        "node down: it does not answer its probes"
    } else if unseen.is_none() && seen.span.num_seconds() < window_s / 2 {
        let short = Cow::Borrowed("not watched for long enough yet");
        return (DutyState::Unknown, short);
    } else if seen.refused > 0.0 {
        "signer refused: its refusals say why"
    } else if let Some(unseen) = unseen {
        return (DutyState::Delinquent, Cow::Owned(unseen));
    } else {
        "duties are missed, and neither node nor signer says why"
    };
    (DutyState::Delinquent, Cow::Borrowed(reason))
}

/// Whether the chain shows too few of the duties, whatever the machine claims:
/// two epochs without a vote of more than one validator in ten. Epochs that
/// began before the node last came back are not counted.
fn unseen(on_chain: &OnChain, seen: &Seen) -> Option<String> {
    let active = on_chain.count(|one| one.status.has_duties());
    let silent = on_chain.silent(seen.back);
    let told = format!(
        "not seen on chain: no vote of {silent} of {active} active validators in two epochs"
    );
    (silent as u128 * ONE_IN > active as u128).then_some(told)
}

/// What the counters say.
#[derive(Debug, Clone, Copy)]
struct Seen {
    done: f64,
    missed: f64,
    refused: f64,
    /// From the first to the last sample of duties done, or of those missed where a client
    /// names a counter only once it has counted.
    span: TimeDelta,
    /// When the first duty was done.
    back: Option<DateTime<Utc>>,
}

impl Seen {
    /// Misses before the first duty done are those of a node that has come back:
    /// they count no more.
    fn new(signs: &Signs, window: &[Count]) -> Self {
        let back = steps(window, &signs.done).find(|(_, by)| *by > 0.0);
        let since = |time| back.is_none_or(|(first, _)| time > first);
        let refused = signs.refused.as_ref();
        let times = |name| {
            let of = window.iter().filter(move |count| count.name == name);
            of.map(|count| count.time)
        };
        let told = [signs.done.as_str(), &signs.missed]
            .into_iter()
            .find(|name| times(*name).next().is_some());
        Self {
            done: steps(window, &signs.done).map(|(_, by)| by).sum(),
            missed: steps(window, &signs.missed)
                .filter(|(time, _)| since(*time))
                .map(|(_, by)| by)
                .sum(),
            refused: refused.map_or(0.0, |name| steps(window, name).map(|(_, by)| by).sum()),
            span: told
                .and_then(|name| times(name).min().zip(times(name).max()))
                .map_or(TimeDelta::zero(), |(first, last)| last - first),
            back: back.map(|(first, _)| first),
        }
    }

    fn earns(&self) -> bool {
        let (done, missed) = (u128::from(whole(self.done)), u128::from(whole(self.missed)));
        done > 0 && missed * ONE_IN <= done + missed
    }

    fn misses(&self) -> bool {
        (self.done > 0.0 || self.missed > 0.0) && !self.earns()
    }
}

/// By how much a counter grew, and when. One that fell was started anew, from zero.
fn steps<'a>(
    window: &'a [Count],
    name: &'a str,
) -> impl Iterator<Item = (DateTime<Utc>, f64)> + 'a {
    let mut last = None;
    window
        .iter()
        .filter(move |count| count.name == name && count.value.is_finite() && count.value >= 0.0)
        .filter_map(move |count| {
            let before = last.replace(count.value)?;
            let grown = count.value - before;
            Some((count.time, if grown < 0.0 { count.value } else { grown }))
        })
}

/// A count as a whole number.
fn whole(count: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast of a float saturates, and no count is negative"
    )]
    let whole = count as u64;
    whole
}

#[cfg(test)]
mod tests;
