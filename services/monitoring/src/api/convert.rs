//! Between messages and domain types. Nothing else in this service sees both.

use super::pb;
use crate::domain::{
    Check, Duty, DutyState, Expectation, Health, Incident, IncidentState, Outcome, Severity, Signs,
    State,
};
use crate::store::samples::HistoryRow;
use crate::store::targets::Target;
use berth_core::{Fence, Name, Result, Violations};
use berth_runtime::wire;
use chrono::TimeDelta;
use std::ops::RangeInclusive;

/// Longest silence that may be asked for, in seconds.
const MAX_SPAN_S: i64 = 24 * 3600;
/// Silence that is borne unless the chain's entry says otherwise, in seconds.
const SILENCE_S: i64 = 60;
/// Shortest and longest time that duty is judged by, in seconds; history is not
/// kept for longer.
const WINDOW_S: RangeInclusive<i64> = 60..=6 * 3600;
/// Longest name of a series, in bytes.
pub(super) const MAX_NAME: usize = 128;
/// Most validators of a node.
const MAX_KEYS: usize = 1000;
/// Most blocks behind that may be accepted.
const MAX_DISTANCE: i64 = 1_000_000_000;

pub(super) fn target(request: &pb::PutTargetRequest) -> Result<Target> {
    let mut violations = Violations::default();
    let node_id = violations.absorb(wire::parse("node_id", &request.node_id))?;
    let account_id = violations.absorb(wire::parse("account_id", &request.account_id))?;
    let placement_id = violations.absorb(wire::parse("placement_id", &request.placement_id))?;
    if request.fence == 0 {
        violations.add("fence", "is required");
    } else if i64::try_from(request.fence).is_err() {
        violations.add("fence", "is too large");
    }
    let given = request.expectation.unwrap_or_default();
    let expectation = expectation(&given, &mut violations);
    let duty = match &request.duty {
        None => Some(None),
        Some(given) => signs(given, &mut violations).map(Some),
    };
    let chain = wire::parse_optional::<Name>("chain", &request.chain);
    let chain = violations.absorb(chain)?;
    let public_keys = public_keys(&request.public_keys, &mut violations);
    let target = (|| {
        Some(Target {
            node_id: node_id?,
            account_id: account_id?,
            placement_id: placement_id?,
            fence: Fence::from(request.fence),
            running: request.running,
            expectation: expectation?,
            duty: duty?,
            chain: chain?.map(|chain| chain.to_string()).unwrap_or_default(),
            public_keys: public_keys?,
        })
    })();
    violations.finish(target)
}

fn public_keys(given: &[String], violations: &mut Violations) -> Option<Vec<String>> {
    let is_key = |key: &String| {
        let digits = key.strip_prefix("0x").filter(|digits| digits.len() == 96);
        digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    let good = given.len() <= MAX_KEYS && given.iter().all(is_key);
    let mut keys: Vec<_> = given.iter().map(|key| key.to_ascii_lowercase()).collect();
    keys.sort_unstable();
    keys.dedup();
    violations.check(
        "public_keys",
        good.then_some(keys)
            .ok_or_else(|| format!("must be at most {MAX_KEYS} keys, `0x` and 96 hex digits")),
    )
}

fn signs(given: &pb::DutySigns, violations: &mut Violations) -> Option<Signs> {
    let mut name = |field: &str, name: &str, wanted: bool| {
        let plain = !name.chars().any(berth_core::is_control);
        let good = name.len() <= MAX_NAME && plain && !(wanted && name.is_empty());
        violations.check(
            format!("duty.{field}"),
            good.then(|| name.to_owned())
                .ok_or_else(|| format!("must be the name of a series, at most {MAX_NAME} bytes")),
        )
    };
    let done = name("done", &given.done, true);
    let missed = name("missed", &given.missed, true);
    let in_set = name("in_set", &given.in_set, true);
    let refused = name("refused", &given.refused, false);
    let unready = name("unready", &given.unready, false);
    let window_s = given.window.and_then(wire::whole_seconds);
    let window_s = violations.check(
        "duty.window",
        window_s
            .filter(|window| WINDOW_S.contains(window))
            .ok_or("must be from a minute to six hours"),
    );
    let named = |name: String| Some(name).filter(|name| !name.is_empty());
    Some(Signs {
        done: done?,
        missed: missed?,
        in_set: in_set?,
        refused: named(refused?),
        unready: named(unready?),
        window_s: window_s?,
    })
}

fn expectation(given: &pb::Expectation, violations: &mut Violations) -> Option<Expectation> {
    let mut number = |field: &str, value: u64, max: i64| {
        let value = i64::try_from(value).ok().filter(|value| *value <= max);
        violations.check(
            format!("expectation.{field}"),
            value.ok_or_else(|| format!("must be at most {max}")),
        )
    };
    let min_peers = number("min_peers", given.min_peers.into(), 100_000);
    let max_distance = number("max_distance", given.max_distance, MAX_DISTANCE);
    let disk = number(
        "min_disk_free_percent",
        given.min_disk_free_percent.into(),
        100,
    );
    let gpu_count = number("gpu_count", given.gpu_count.into(), 1000);
    let mut seconds = |field: &str, span: Option<prost_types::Duration>, default: i64| {
        let value = span.map_or(Some(default), wire::whole_seconds);
        violations.check(
            format!("expectation.{field}"),
            value
                .filter(|value| (0..=MAX_SPAN_S).contains(value))
                .ok_or_else(|| format!("must be from 0 to {MAX_SPAN_S} seconds")),
        )
    };
    let max_block_age_s = seconds("max_block_age", given.max_block_age, 0);
    let silence_s = seconds("silence", given.silence, SILENCE_S);
    Some(Expectation {
        min_peers: min_peers?.try_into().ok()?,
        max_distance: max_distance?,
        max_block_age_s: max_block_age_s?,
        min_disk_free_percent: disk?.try_into().ok()?,
        silence_s: silence_s?.max(1),
        gpu_count: gpu_count?.try_into().ok()?,
    })
}

pub(super) fn health(target: &Target, health: Health, duty: Option<Duty>) -> pb::Health {
    let signed =
        |value: Option<u64>| value.map_or(-1, |value| i64::try_from(value).unwrap_or(i64::MAX));
    pb::Health {
        node_id: target.node_id.to_string(),
        fence: target.fence.get(),
        state: pb::health::State::from(health.state).into(),
        reasons: health.reasons,
        signal_time: health.signal_time.map(wire::timestamp),
        height: health.height.unwrap_or(0),
        distance: signed(health.distance),
        peers: signed(health.peers),
        sync_percent: health.sync_percent.map_or(-1, i32::from),
        checks: health.checks.into_iter().map(pb::Check::from).collect(),
        duty: target
            .duty
            .as_ref()
            .zip(duty)
            .map(|(signs, duty)| self::duty(signs, duty)),
    }
}

fn duty(signs: &Signs, duty: Duty) -> pb::Duty {
    let state = match duty.state {
        DutyState::Unknown => pb::duty::State::Unknown,
        DutyState::Syncing => pb::duty::State::Syncing,
        DutyState::NotInSet => pb::duty::State::NotInSet,
        DutyState::Earning => pb::duty::State::Earning,
        DutyState::Delinquent => pb::duty::State::Delinquent,
        DutyState::Tombstoned => pb::duty::State::Tombstoned,
        DutyState::Exiting => pb::duty::State::Exiting,
        DutyState::Exited => pb::duty::State::Exited,
    };
    pb::Duty {
        state: state.into(),
        reason: duty.reason.into_owned(),
        balance_gwei: duty.balance,
        done: duty.done,
        missed: duty.missed,
        window: Some(wire::duration(TimeDelta::seconds(signs.window_s))),
    }
}

impl From<State> for pb::health::State {
    fn from(state: State) -> Self {
        match state {
            State::Unknown => Self::Unknown,
            State::Healthy => Self::Healthy,
            State::Syncing => Self::Syncing,
            State::Degraded => Self::Degraded,
            State::Down => Self::Down,
        }
    }
}

impl From<Check> for pb::Check {
    fn from(check: Check) -> Self {
        let outcome = match check.outcome {
            Outcome::Unknown => pb::check::Outcome::Unknown,
            Outcome::Pass => pb::check::Outcome::Pass,
            Outcome::Warn => pb::check::Outcome::Warn,
            Outcome::Fail => pb::check::Outcome::Fail,
        };
        Self {
            name: check.name.to_owned(),
            outcome: outcome.into(),
            message: check.message,
        }
    }
}

pub(super) fn incident(incident: Incident) -> pb::Incident {
    let state = match incident.state {
        IncidentState::Open => pb::incident::State::Open,
        IncidentState::Acknowledged => pb::incident::State::Acknowledged,
        IncidentState::Resolved => pb::incident::State::Resolved,
    };
    let severity = match incident.severity {
        Severity::Warning => pb::incident::Severity::Warning,
        Severity::Security => pb::incident::Severity::Security,
    };
    pb::Incident {
        id: incident.id.to_string(),
        etag: wire::etag(incident.version),
        create_time: Some(wire::timestamp(incident.create_time)),
        node_id: incident.node_id.to_string(),
        reason: incident.reason,
        severity: severity.into(),
        state: state.into(),
        count: incident.count.unsigned_abs(),
        last_time: Some(wire::timestamp(incident.last_time)),
        detail: incident.detail,
        public_key: incident.public_key,
        fence: incident.fence.get(),
        acknowledge_time: incident.acknowledge_time.map(wire::timestamp),
        resolve_time: incident.resolve_time.map(wire::timestamp),
    }
}

/// Rows in order of series and time, as series.
pub(super) fn series(rows: Vec<HistoryRow>) -> Vec<pb::Series> {
    let mut all: Vec<(i64, pb::Series)> = Vec::new();
    for row in rows {
        if all.last().is_none_or(|(id, _)| *id != row.series_id) {
            let labels = row
                .labels
                .split(',')
                .filter_map(|pair| pair.split_once('='));
            let series = pb::Series {
                name: row.name,
                labels: labels
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .collect(),
                unit: row.unit,
                samples: Vec::new(),
            };
            all.push((row.series_id, series));
        }
        if let Some((_, series)) = all.last_mut() {
            series.samples.push(pb::Sample {
                time: Some(wire::timestamp(row.time)),
                value: row.value,
            });
        }
    }
    all.into_iter().map(|(_, series)| series).collect()
}
