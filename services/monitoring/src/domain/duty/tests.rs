//! The table of duty, and what no sample may do to it.

use super::*;
use crate::domain::{Calendar, Expectation, Observed, Reading, Track, assess};
use proptest::prelude::*;

const NOW: DateTime<Utc> = DateTime::from_timestamp(1_800_000_000, 0).unwrap();

const EXPECTED: Expectation = Expectation {
    min_peers: 0,
    max_distance: 8,
    max_block_age_s: 0,
    min_disk_free_percent: 0,
    silence_s: 45,
    gpu_count: 0,
};

fn signs() -> Signs {
    Signs {
        done: "hits".to_owned(),
        missed: "misses".to_owned(),
        in_set: "active".to_owned(),
        refused: Some("sign_errors".to_owned()),
        unready: Some("optimistic".to_owned()),
        window_s: 60,
    }
}

/// A node that follows its chain with four active validators.
fn following() -> Vec<(&'static str, f64)> {
    vec![
        ("berth.node.up", 1.0),
        ("berth.node.catching_up", 0.0),
        ("active", 4.0),
        ("optimistic", 0.0),
    ]
}

fn but(name: &'static str, value: Option<f64>) -> Vec<(&'static str, f64)> {
    let mut values = following();
    values.retain(|(known, _)| *known != name);
    values.extend(value.map(|value| (name, value)));
    values
}

fn readings(values: &[(&str, f64)]) -> Readings {
    let reading = |(name, value): &(&str, f64)| Reading {
        name: (*name).to_owned(),
        labels: String::new(),
        last_time: NOW,
        last_value: *value,
    };
    Readings(values.iter().map(reading).collect())
}

/// A sample of a counter every ten seconds, the last one now.
fn counter(name: &str, values: &[f64]) -> Vec<Count> {
    let ages = (0..).map(|ten| TimeDelta::seconds(10 * ten));
    let mut counts: Vec<_> = values
        .iter()
        .rev()
        .zip(ages)
        .map(|(value, age)| Count {
            name: name.to_owned(),
            time: NOW - age,
            value: *value,
        })
        .collect();
    counts.reverse();
    counts
}

fn counters(done: &[f64], missed: &[f64], refused: &[f64]) -> Vec<Count> {
    let all = [("hits", done), ("misses", missed), ("sign_errors", refused)];
    all.into_iter()
        .flat_map(|(name, values)| counter(name, values))
        .collect()
}

/// What the machine says, and nobody else.
fn told<'a>(readings: &'a Readings, window: &'a [Count]) -> Told<'a> {
    Told {
        readings,
        window,
        on_chain: None,
    }
}

/// Duty of a running node as it is seen so many seconds after its last sample.
fn after(seconds: i64, values: &[(&str, f64)], window: &[Count]) -> Duty {
    let readings = readings(values);
    let now = NOW + TimeDelta::seconds(seconds);
    let health = assess(&EXPECTED, &readings, true, now);
    duty(&signs(), &health, told(&readings, window), true)
}

const UP: [f64; 6] = [4.0, 4.0, 8.0, 8.0, 12.0, 12.0];
const FLAT: [f64; 6] = [4.0; 6];

/// A node, its counters (done, missed, refused), and the duty that follows.
type Case = (
    Vec<(&'static str, f64)>,
    [&'static [f64]; 3],
    DutyState,
    &'static str,
);

fn check(table: Vec<Case>) {
    for (values, [done, missed, refused], state, reason) in table {
        let window = counters(done, missed, refused);
        let duty = after(0, &values, &window);
        assert_eq!(duty.state, state, "{values:?} {window:?} {duty:?}");
        let told = &duty.reason;
        assert!(told.contains(reason), "`{told}` does not say `{reason}`");
        assert_eq!(told.is_empty(), state == DutyState::Earning);
    }
}

#[test]
fn counters_say_whether_a_node_that_follows_its_chain_earns() {
    use DutyState::{Delinquent, Earning, Unknown};
    let well = following;
    check(vec![
        (well(), [&UP, &FLAT, &FLAT], Earning, ""),
        (well(), [&UP, &[], &[]], Earning, ""),
        (well(), [&FLAT, &UP, &UP], Delinquent, "signer refused"),
        (well(), [&FLAT, &UP, &FLAT], Delinquent, "neither node nor"),
        (well(), [&UP, &UP, &FLAT], Delinquent, "neither node nor"),
        (well(), [&FLAT[..2], &UP, &UP], Unknown, "not watched"),
        (well(), [&[], &[], &[]], Unknown, "not watched"),
    ]);
}

#[test]
fn each_sign_of_the_node_moves_duty_as_people_expect() {
    use DutyState::{Delinquent, Earning, NotInSet, Syncing, Unknown};
    let down = || but("berth.node.up", Some(0.0));
    let behind = || but("berth.node.catching_up", Some(1.0));
    let unready = || but("optimistic", Some(1.0));
    let idle = but("active", Some(0.0));
    check(vec![
        (down(), [&[], &[], &[]], Delinquent, "node down"),
        (down(), [&UP, &FLAT, &FLAT], Earning, ""),
        (idle, [&FLAT, &FLAT, &FLAT], NotInSet, "active"),
        (but("active", None), [&UP, &FLAT, &FLAT], Unknown, "nothing"),
        (behind(), [&FLAT, &FLAT, &FLAT], Syncing, "catching up"),
        (behind(), [&UP, &FLAT, &FLAT], Syncing, "catching up"),
        (behind(), [&FLAT, &UP, &UP], Delinquent, "node behind"),
        (unready(), [&FLAT, &UP, &UP], Delinquent, "node behind"),
        (unready(), [&[], &[], &[]], Syncing, "catching up"),
    ]);
}

#[test]
fn silence_of_a_validator_that_was_active_is_delinquent() {
    let window = counters(&UP, &FLAT, &FLAT);
    assert_eq!(after(45, &following(), &window).state, DutyState::Earning);
    let silent = after(46, &following(), &window);
    assert_eq!(silent.state, DutyState::Delinquent);
    assert!(silent.reason.starts_with("machine silent"));
    let never_active = after(46, &but("active", Some(0.0)), &window);
    assert_eq!(never_active.state, DutyState::Unknown);
    assert_eq!(after(0, &[], &[]).reason, "no signal has come yet");
}

#[test]
fn a_stopped_node_misses_nothing() {
    let readings = readings(&following());
    let health = assess(&EXPECTED, &readings, false, NOW);
    let window = counters(&FLAT, &UP, &UP);
    let stopped = duty(&signs(), &health, told(&readings, &window), false);
    assert_eq!(stopped.state, DutyState::Unknown);
    assert_eq!(stopped.reason, "stopped by its owner");
}

#[test]
fn one_miss_in_ten_is_borne_and_more_are_not() {
    let missed = |missed: f64| {
        let done = [0.0, 1.0, 9.0, 9.0, 9.0, 9.0];
        let missed = [0.0, 0.0, 0.0, missed, missed, missed];
        after(0, &following(), &counters(&done, &missed, &FLAT))
    };
    assert_eq!(missed(1.0).state, DutyState::Earning);
    assert_eq!(missed(2.0).state, DutyState::Delinquent);
    assert_eq!((missed(2.0).done, missed(2.0).missed), (9, 2));
}

#[test]
fn a_counter_that_is_not_named_before_it_counts_hides_no_delinquent_node() {
    let only_misses = counters(&[], &UP, &[]);
    let missing = after(0, &following(), &only_misses);
    assert_eq!((missing.state, missing.done), (DutyState::Delinquent, 0));
    let only_done = counters(&UP, &[], &[]);
    assert_eq!(after(0, &following(), &only_done).state, DutyState::Earning);
}

#[test]
fn misses_from_before_a_node_came_back_count_no_more() {
    let done = [0.0, 0.0, 0.0, 4.0, 4.0, 8.0];
    let missed = [0.0, 4.0, 8.0, 8.0, 8.0, 8.0];
    let back = after(0, &following(), &counters(&done, &missed, &FLAT));
    assert_eq!(
        (back.state, back.done, back.missed),
        (DutyState::Earning, 8, 0)
    );
}

#[test]
fn a_container_that_started_anew_loses_no_duty() {
    let done = [96.0, 100.0, 0.0, 4.0, 8.0, 8.0];
    let duty = after(0, &following(), &counters(&done, &FLAT, &FLAT));
    assert_eq!((duty.state, duty.done), (DutyState::Earning, 12));
}

/// Steps of a counter, some of them after a start from zero.
fn runs() -> impl Strategy<Value = Vec<(bool, u16)>> {
    proptest::collection::vec((proptest::bool::weighted(0.2), 0_u16..50), 1..40)
}

const CALENDAR: Calendar = Calendar {
    genesis_time: 1_799_999_840,
    slot_s: 2,
    slots_per_epoch: 8,
};

/// Validators in these states, each silent in so many epochs up to the newest
/// that can be looked at.
fn on_chain(validators: &[(BeaconStatus, u64)]) -> OnChain {
    let newest = CALENDAR.epoch_of(CALENDAR.slot_at(NOW)) - 2;
    let validators = validators.iter().map(|(status, silent)| Observed {
        public_key: String::new(),
        index: Some(1),
        status: *status,
        slashed: status.name().contains("_slashed"),
        balance: 32,
        epoch: newest + 2,
        track: Track {
            seen_epoch: newest.checked_sub(*silent),
            silent: (*silent > 0).then(|| (newest + 1 - silent, newest)),
        },
    });
    OnChain {
        calendar: CALENDAR,
        validators: validators.collect(),
    }
}

/// Duty of a node whose machine says that it earns, as an observer sees it.
fn observed(validators: &[(BeaconStatus, u64)], done: &[f64]) -> Duty {
    let on_chain = on_chain(validators);
    let (readings, window) = (readings(&following()), counters(done, &FLAT, &FLAT));
    let health = assess(&EXPECTED, &readings, true, NOW);
    let told = Told {
        on_chain: Some(&on_chain),
        ..told(&readings, &window)
    };
    duty(&signs(), &health, told, true)
}

#[test]
fn the_chain_knows_better_than_the_machine() {
    use BeaconStatus::{
        ActiveExiting, ActiveOngoing, ActiveSlashed, ExitedSlashed, ExitedUnslashed, PendingQueued,
        Unknown, WithdrawalDone,
    };
    use DutyState::{Delinquent, Earning, Exited, Exiting, NotInSet, Tombstoned};
    let well = (ActiveOngoing, 0);
    for (validators, state, reason) in [
        (&[well, well][..], Earning, ""),
        (
            &[well, (ActiveSlashed, 0)],
            Tombstoned,
            "1 of 2 validators slashed",
        ),
        (&[(ExitedSlashed, 0)], Tombstoned, "1 of 1"),
        (
            &[(WithdrawalDone, 0), (ExitedUnslashed, 0)],
            Exited,
            "2 of 2",
        ),
        (
            &[(PendingQueued, 0), (ExitedUnslashed, 0)],
            NotInSet,
            "none of its",
        ),
        (
            &[(ExitedUnslashed, 0), (ActiveExiting, 0)],
            Exiting,
            "1 of 2 validators leaving",
        ),
        (&[well, (ActiveExiting, 0)], Earning, ""),
        (&[(PendingQueued, 0), (Unknown, 0)], NotInSet, "none of its"),
        (&[well, (PendingQueued, 0)], Earning, ""),
        (&[(ActiveOngoing, 1)], Earning, ""),
        (
            &[(ActiveOngoing, 2), well],
            Delinquent,
            "no vote of 1 of 2 active",
        ),
        (
            &[(ActiveOngoing, 2), (PendingQueued, 0)],
            Delinquent,
            "1 of 1",
        ),
    ] {
        let duty = observed(
            validators,
            &[0.0, 4.0, 8.0, 12.0, 16.0, 20.0, 24.0, 28.0, 32.0, 36.0],
        );
        assert_eq!(duty.state, state, "{validators:?} {duty:?}");
        assert!(duty.reason.contains(reason), "{duty:?}");
        assert_eq!(duty.reason.is_empty(), state == Earning);
        assert_eq!(duty.balance, Some(32 * validators.len() as u64));
    }
}

#[test]
fn silence_from_before_a_node_came_back_is_not_held_against_it() {
    let silent = [(BeaconStatus::ActiveOngoing, 3)];
    let back = observed(
        &silent,
        &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 4.0, 8.0, 12.0],
    );
    assert_eq!(back.state, DutyState::Earning);
    // Nothing came back: what the chain shows is the reason, at once.
    let never = observed(&silent, &[0.0]);
    assert_eq!(never.state, DutyState::Delinquent);
    assert!(never.reason.starts_with("not seen on chain"), "{never:?}");
}

proptest! {
    #[test]
    fn growth_is_the_sum_of_all_steps_whatever_was_started_anew(runs in runs(), first in 0_u16..1000) {
        let mut value = first;
        let mut values = vec![f64::from(first)];
        let mut total = 0_u64;
        for (anew, by) in runs {
            // A start from zero that overtakes the old value cannot be told from growth.
            let anew = anew && by < value;
            value = if anew { by } else { value + by };
            values.push(f64::from(value));
            total += u64::from(by);
        }
        let window = counter("hits", &values);
        prop_assert_eq!(Seen::new(&signs(), &window).done, total as f64);
    }

    #[test]
    fn earning_is_never_said_without_duties_done_of_an_active_node_that_follows(
        values in proptest::collection::vec((0_usize..6, proptest::num::f64::ANY), 0..10),
        samples in proptest::collection::vec(
            (0_usize..3, 0_i64..60, prop_oneof![proptest::num::f64::ANY, 0.0..50.0]), 0..60),
        age in -100_i64..1000,
        running: bool,
    ) {
        let names = ["berth.node.up", "berth.node.catching_up", "active", "optimistic",
                     "berth.node.distance", "berth.clock.offset"];
        let values: Vec<_> = values.into_iter().map(|(n, value)| (names[n], value)).collect();
        let readings = readings(&values);
        let mut window: Vec<_> = samples
            .into_iter()
            .map(|(n, age, value)| Count {
                name: ["hits", "misses", "sign_errors"][n].to_owned(),
                time: NOW - TimeDelta::seconds(age),
                value,
            })
            .collect();
        window.sort_by_key(|count| count.time);
        let now = NOW + TimeDelta::seconds(age);
        let health = assess(&EXPECTED, &readings, running, now);
        let said = duty(&signs(), &health, told(&readings, &window), running);
        if said.state == DutyState::Earning {
            prop_assert!(running && !health.silent);
            prop_assert!(health.state != State::Syncing);
            prop_assert_eq!(readings.flag("active"), Some(true));
            prop_assert_ne!(readings.flag("optimistic"), Some(true));
            prop_assert!(said.done > 0);
            prop_assert!(u128::from(said.missed) * 9 <= u128::from(said.done));
        }
        if said.state == DutyState::Delinquent {
            prop_assert_eq!(readings.flag("active"), Some(true));
        }
        prop_assert_eq!(said.reason.is_empty(), said.state == DutyState::Earning);
    }

    #[test]
    fn one_more_duty_done_never_makes_an_earning_node_delinquent(
        done in proptest::collection::vec(0_u8..5, 6), missed in proptest::collection::vec(0_u8..2, 6)
    ) {
        let sums = |steps: &[u8]| -> Vec<f64> {
            let mut sum = 0.0;
            steps.iter().map(|by| { sum += f64::from(*by); sum }).collect()
        };
        let before = after(0, &following(), &counters(&sums(&done), &sums(&missed), &FLAT));
        let mut more = done;
        more[5] += 1;
        let then = after(0, &following(), &counters(&sums(&more), &sums(&missed), &FLAT));
        prop_assert!(before.state != DutyState::Earning || then.state == DutyState::Earning);
    }
}
