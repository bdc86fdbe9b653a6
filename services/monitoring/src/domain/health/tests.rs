//! The table of health, and what no input may do to it.

use super::*;
use crate::domain::Reading;
use proptest::prelude::*;

const EXPECTED: Expectation = Expectation {
    min_peers: 2,
    max_distance: 10,
    max_block_age_s: 30,
    min_disk_free_percent: 10,
    silence_s: 60,
    gpu_count: 0,
};

const NOW: DateTime<Utc> = DateTime::from_timestamp(1_800_000_000, 0).unwrap();

fn readings(values: &[(&str, f64)]) -> Readings {
    let reading = |(name, value): &(&str, f64)| Reading {
        name: (*name).to_owned(),
        labels: String::new(),
        last_time: NOW,
        last_value: *value,
    };
    Readings(values.iter().map(reading).collect())
}

fn good() -> Vec<(&'static str, f64)> {
    vec![
        ("berth.node.up", 1.0),
        ("berth.node.catching_up", 0.0),
        ("berth.node.height", 100.0),
        ("berth.node.peers", 3.0),
        ("berth.node.block_time_unix", 1_799_999_995.0),
        ("berth.disk.size", 100.0),
        ("berth.disk.free", 50.0),
    ]
}

fn with(name: &'static str, value: f64) -> Readings {
    let mut values = good();
    values.retain(|(known, _)| *known != name);
    values.push((name, value));
    readings(&values)
}

#[test]
fn each_signal_moves_health_as_people_expect() {
    let table = [
        (readings(&good()), State::Healthy, ""),
        (readings(&[]), State::Unknown, "no signal"),
        (with("berth.node.up", 0.0), State::Down, "does not answer"),
        (
            with("berth.node.catching_up", 1.0),
            State::Syncing,
            "syncing",
        ),
        (
            with("berth.node.distance", 11.0),
            State::Syncing,
            "11 blocks behind",
        ),
        (with("berth.node.distance", 10.0), State::Healthy, ""),
        (
            with("berth.node.peers", 1.0),
            State::Degraded,
            "1 peers, fewer than 2",
        ),
        (
            with("berth.node.block_time_unix", 1_799_999_000.0),
            State::Degraded,
            "1000 s old",
        ),
        (with("berth.disk.free", 5.0), State::Degraded, "5 % free"),
        (
            with("berth.clock.offset", 11.0),
            State::Degraded,
            "11.0 s off",
        ),
        (
            with("berth.clock.offset", -3.0),
            State::Healthy,
            "-3.0 s off",
        ),
    ];
    for (readings, state, reason) in table {
        let health = assess(&EXPECTED, &readings, true, NOW);
        assert_eq!(health.state, state, "{readings:?}");
        let told = health.reasons.join("; ");
        assert!(told.contains(reason), "`{told}` does not say `{reason}`");
    }
}

#[test]
fn silence_is_unknown_and_a_stopped_node_is_not_down() {
    let later = NOW + TimeDelta::seconds(61);
    let health = assess(&EXPECTED, &readings(&good()), true, later);
    assert_eq!(health.state, State::Unknown);
    assert!(health.reasons[0].contains("no signal for 61 s"));
    let stopped = assess(&EXPECTED, &with("berth.node.up", 0.0), false, NOW);
    assert_eq!(stopped.reasons, ["stopped by its owner"]);
}

#[test]
fn a_clock_that_is_behind_is_told_and_not_taken_for_silence() {
    let mut late = with("berth.clock.offset", -120.0);
    for reading in &mut late.0 {
        reading.last_time = NOW - TimeDelta::seconds(120);
    }
    let health = assess(&EXPECTED, &late, true, NOW);
    assert_eq!(health.state, State::Degraded);
    assert_eq!(health.reasons, ["clock is -120.0 s off"]);
    assert_eq!(health.signal_time, Some(NOW));
}

#[test]
fn missing_gpus_are_missed() {
    let expected = Expectation {
        gpu_count: 2,
        ..EXPECTED
    };
    let health = assess(&expected, &with("berth.gpu.count", 1.0), true, NOW);
    assert_eq!(health.state, State::Degraded);
    assert_eq!(health.reasons, ["1 of 2 GPUs answer"]);
}

#[test]
fn progress_is_the_share_of_the_chain() {
    let mut values = good();
    values.retain(|(name, _)| *name != "berth.node.catching_up");
    values.extend([
        ("berth.node.catching_up", 1.0),
        ("berth.node.distance", 300.0),
    ]);
    let health = assess(&EXPECTED, &readings(&values), true, NOW);
    assert_eq!(health.sync_percent, Some(25));
}

proptest! {
    #[test]
    fn no_number_panics_or_makes_a_silent_node_healthy(
        values in proptest::collection::vec((0_usize..8, proptest::num::f64::ANY), 0..12),
        age in -100_i64..100_000,
    ) {
        let names = good();
        let values: Vec<_> = values
            .into_iter()
            .map(|(index, value)| (names.get(index).map_or("berth.clock.offset", |n| n.0), value))
            .collect();
        let readings = readings(&values);
        let health = assess(&EXPECTED, &readings, true, NOW + TimeDelta::seconds(age));
        if health.state == State::Healthy {
            prop_assert!(age <= 60);
            let answers = readings.flag("berth.node.up").or(readings.flag("berth.node.catching_up").map(|_| true));
            prop_assert_ne!(answers, Some(false));
        }
        prop_assert!(health.sync_percent.is_none_or(|percent| percent <= 100));
    }
}

#[test]
fn a_node_without_a_block_yet_is_not_told_the_age_of_one() {
    let mut values = good();
    values.retain(|(name, _)| !name.starts_with("berth.node.height"));
    values.retain(|(name, _)| *name != "berth.node.block_time_unix");
    values.extend([
        ("berth.node.height", 0.0),
        ("berth.node.block_time_unix", 0.0),
    ]);
    let health = assess(&EXPECTED, &readings(&values), true, NOW);
    let told = health.reasons.join("; ");
    assert!(!told.contains("old"), "{told}");
}
