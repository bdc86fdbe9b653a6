//! Health as a pure function of the newest samples.

use super::{Expectation, Readings};
use chrono::{DateTime, TimeDelta, Utc};

/// Clock difference that a node may have before a person should know.
const CLOCK_WARN_S: f64 = 2.0;
/// Clock difference that breaks consensus.
const CLOCK_FAIL_S: f64 = 10.0;

/// Health in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No signal yet, or none for too long.
    Unknown,
    /// Follows the head.
    Healthy,
    /// Catching up.
    Syncing,
    /// Answers, and something is wrong.
    Degraded,
    /// Does not answer.
    Down,
}

/// What came of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Not enough signals.
    Unknown,
    /// Good.
    Pass,
    /// A person may want to know.
    Warn,
    /// Wrong.
    Fail,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Name.
    pub name: &'static str,
    /// What came of it.
    pub outcome: Outcome,
    /// The same for people.
    pub message: String,
}

/// What the signals of a node add up to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// In one word.
    pub state: State,
    /// Why, for people, the most important first.
    pub reasons: Vec<String>,
    /// When a signal last came.
    pub signal_time: Option<DateTime<Utc>>,
    /// Whether that is too long ago.
    pub silent: bool,
    /// Height that the node has.
    pub height: Option<u64>,
    /// Blocks behind the head.
    pub distance: Option<u64>,
    /// Peers.
    pub peers: Option<u64>,
    /// How much of the chain is synced, 0 to 100.
    pub sync_percent: Option<u8>,
    /// Single checks.
    pub checks: Vec<Check>,
}

/// Adds up the signals of a node that is meant to be `running`.
#[must_use]
pub fn assess(
    expectation: &Expectation,
    readings: &Readings,
    running: bool,
    now: DateTime<Utc>,
) -> Health {
    let checks = vec![
        up(readings),
        sync(expectation, readings),
        height(expectation, readings, now),
        peers(expectation, readings),
        disk(expectation, readings),
        clock(readings),
        gpu(expectation, readings),
    ];
    let mut health = Health {
        state: State::Unknown,
        reasons: Vec::new(),
        signal_time: readings.newest().map(|time| time.min(now)),
        silent: false,
        height: readings.count("berth.node.height"),
        distance: distance(readings),
        peers: readings.count("berth.node.peers"),
        sync_percent: sync_percent(readings),
        checks,
    };
    let silence = health.signal_time.map(|time| now - time);
    let limit = TimeDelta::try_seconds(expectation.silence_s.max(1)).unwrap_or(TimeDelta::MAX);
    health.silent = silence.is_some_and(|silence| silence > limit);
    match silence {
        _ if !running => health.reasons.push("stopped by its owner".to_owned()),
        None => health.reasons.push("no signal has come yet".to_owned()),
        Some(silence) if health.silent => health.reasons.push(format!(
            "no signal for {} s: the machine, its network or the agent is down",
            silence.num_seconds()
        )),
        Some(_) => judge(&mut health),
    }
    health
}

/// The state that the checks add up to, worst first.
fn judge(health: &mut Health) {
    let of = |name: &str| health.checks.iter().find(|check| check.name == name);
    let outcome = |name: &str| of(name).map_or(Outcome::Unknown, |check| check.outcome);
    let failed = |check: &&Check| check.outcome == Outcome::Fail;
    health.state = match (outcome("up"), outcome("sync")) {
        (Outcome::Fail, _) => State::Down,
        (Outcome::Unknown, Outcome::Unknown) => State::Unknown,
        (_, Outcome::Fail | Outcome::Warn) => State::Syncing,
        _ if health.checks.iter().any(|check| failed(&check)) => State::Degraded,
        _ => State::Healthy,
    };
    health.reasons = if health.state == State::Unknown {
        vec!["the node has not answered a probe yet".to_owned()]
    } else {
        let mut told: Vec<&Check> = health.checks.iter().filter(failed).collect();
        told.extend(
            health
                .checks
                .iter()
                .filter(|check| check.outcome == Outcome::Warn),
        );
        told.iter().map(|check| check.message.clone()).collect()
    };
}

fn check(name: &'static str, outcome: Outcome, message: impl Into<String>) -> Check {
    Check {
        name,
        outcome,
        message: message.into(),
    }
}

fn unknown(name: &'static str) -> Check {
    check(name, Outcome::Unknown, "not measured")
}

fn up(readings: &Readings) -> Check {
    match readings.flag("berth.node.up") {
        Some(true) => check("up", Outcome::Pass, "answers"),
        Some(false) => check("up", Outcome::Fail, "does not answer its probes"),
        None => unknown("up"),
    }
}

fn distance(readings: &Readings) -> Option<u64> {
    readings.count("berth.node.distance").or_else(|| {
        let head = readings.count("berth.node.head_height")?;
        let height = readings.count("berth.node.height")?;
        Some(head.saturating_sub(height))
    })
}

fn sync_percent(readings: &Readings) -> Option<u8> {
    if readings.flag("berth.node.catching_up") == Some(false) {
        return Some(100);
    }
    let height = readings.count("berth.node.height")?;
    let head = height.checked_add(distance(readings)?)?;
    let percent = u128::from(height) * 100 / u128::from(head.max(1));
    u8::try_from(percent.min(100)).ok()
}

fn sync(expectation: &Expectation, readings: &Readings) -> Check {
    let distance = distance(readings);
    let behind = distance.map_or_else(
        || "syncing".to_owned(),
        |distance| format!("syncing, {distance} blocks behind"),
    );
    let most = u64::try_from(expectation.max_distance).unwrap_or(0);
    match (readings.flag("berth.node.catching_up"), distance) {
        (Some(true), _) => check("sync", Outcome::Warn, behind),
        (_, Some(distance)) if most > 0 && distance > most => check("sync", Outcome::Warn, behind),
        (None, None) => unknown("sync"),
        _ => check("sync", Outcome::Pass, "follows the head"),
    }
}

fn height(expectation: &Expectation, readings: &Readings, now: DateTime<Utc>) -> Check {
    let Some(time) = readings.count("berth.node.block_time_unix") else {
        return unknown("height");
    };
    if readings.count("berth.node.height") == Some(0) {
        return check("height", Outcome::Unknown, "no block yet");
    }
    let now = u64::try_from(now.timestamp()).unwrap_or(0);
    let age = now.saturating_sub(time);
    let most = u64::try_from(expectation.max_block_age_s).unwrap_or(0);
    let message = format!("newest block is {age} s old");
    if most > 0 && age > most {
        check("height", Outcome::Fail, message)
    } else {
        check("height", Outcome::Pass, message)
    }
}

fn peers(expectation: &Expectation, readings: &Readings) -> Check {
    let Some(peers) = readings.count("berth.node.peers") else {
        return unknown("peers");
    };
    let least = u64::try_from(expectation.min_peers).unwrap_or(0);
    if peers < least {
        let message = format!("{peers} peers, fewer than {least}");
        check("peers", Outcome::Fail, message)
    } else {
        check("peers", Outcome::Pass, format!("{peers} peers"))
    }
}

fn disk(expectation: &Expectation, readings: &Readings) -> Check {
    let mut worst: Option<(f64, &str)> = None;
    for free in readings.all("berth.disk.free") {
        let size = readings
            .all("berth.disk.size")
            .find(|size| size.labels == free.labels && size.last_value > 0.0);
        if let Some(size) = size {
            let percent = (free.last_value / size.last_value * 100.0).clamp(0.0, 100.0);
            if worst.is_none_or(|(least, _)| percent < least) {
                worst = Some((percent, free.labels.as_str()));
            }
        }
    }
    match worst {
        None => unknown("disk"),
        Some((percent, labels)) => {
            let message = format!("{percent:.0} % free ({labels})");
            if percent < f64::from(expectation.min_disk_free_percent) {
                check(
                    "disk",
                    Outcome::Fail,
                    format!("disk is filling up: {message}"),
                )
            } else {
                check("disk", Outcome::Pass, message)
            }
        }
    }
}

fn clock(readings: &Readings) -> Check {
    let Some(offset) = readings.value("berth.clock.offset") else {
        return unknown("clock");
    };
    let message = format!("clock is {offset:.1} s off");
    let outcome = match offset.abs() {
        offset if offset > CLOCK_FAIL_S => Outcome::Fail,
        offset if offset > CLOCK_WARN_S => Outcome::Warn,
        _ => Outcome::Pass,
    };
    check("clock", outcome, message)
}

fn gpu(expectation: &Expectation, readings: &Readings) -> Check {
    let wanted = u64::try_from(expectation.gpu_count).unwrap_or(0);
    match readings.count("berth.gpu.count") {
        None if wanted == 0 => unknown("gpu"),
        None => check("gpu", Outcome::Unknown, "no GPU has been measured yet"),
        Some(seen) if seen < wanted => {
            let message = format!("{seen} of {wanted} GPUs answer");
            check("gpu", Outcome::Fail, message)
        }
        Some(seen) => check("gpu", Outcome::Pass, format!("{seen} GPUs answer")),
    }
}

#[cfg(test)]
mod tests;
