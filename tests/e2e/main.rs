//! Whole control planes on machines of the rig: what a person does from a wish
//! to a clean machine, what nobody may see, and who may call what.
//!
//! Each test has a control plane of its own, so tests are few and long.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot run must fail"
)]

mod access;
mod callers;
mod ethereum;
mod exit;
mod fields;
mod keys;
mod ledger;
mod newcomer;
mod observed;
mod raw;
mod refused;
mod rows;
mod sentinel;
mod story;
mod upgrade;
mod validators;
mod webhooks;

use berth_tests::{Berth, Shape};

#[test]
fn a_node_goes_from_a_wish_to_following_the_chain_and_back_to_a_clean_machine() {
    let mut berth = Berth::start(Shape {
        machines: 2,
        replicas: 1,
    });
    story::told(&mut berth);
    berth.stop();
    berth.assert_no_errors();
}

#[test]
fn two_replicas_of_every_service_pass_the_same_story() {
    let mut berth = Berth::start(Shape {
        machines: 2,
        replicas: 2,
    });
    story::told(&mut berth);
    berth.stop();
    berth.assert_no_errors();
}

#[test]
fn a_node_of_several_containers_starts_stops_and_reports_as_one() {
    let mut berth = Berth::start(Shape {
        machines: 1,
        replicas: 1,
    });
    ethereum::told(&berth);
    berth.stop();
    berth.assert_no_errors();
}

#[test]
fn a_node_comes_to_a_new_version_and_back_from_one_that_does_not_start() {
    let mut berth = Berth::start(Shape {
        machines: 1,
        replicas: 1,
    });
    upgrade::there_and_back(&berth);
    berth.stop();
    berth.assert_no_errors();
}

#[test]
fn leased_validators_attest_for_five_epochs_while_their_signers_are_killed() {
    let mut berth = Berth::start(Shape {
        machines: 1,
        replicas: 2,
    });
    validators::earn(&berth);
    berth.stop();
}

#[test]
fn keys_without_a_past_sign_once_the_chain_shows_them_silent() {
    let mut berth = Berth::start(Shape {
        machines: 1,
        replicas: 1,
    });
    observed::sign_when_silent(&berth);
    berth.stop();
}

#[test]
fn a_machine_with_a_past_is_clean_before_it_is_available() {
    let mut berth = Berth::start(Shape {
        machines: 1,
        replicas: 1,
    });
    newcomer::is_wiped_before_it_is_available(&berth);
    berth.stop();
    berth.assert_no_errors();
}

#[test]
fn an_account_is_told_by_webhook_when_its_lease_ends() {
    let mut berth = Berth::start(Shape {
        machines: 1,
        replicas: 1,
    });
    webhooks::tell_of_a_lease(&berth);
    berth.stop();
    berth.assert_no_errors();
}

#[test]
fn keys_come_sealed_and_never_go_out() {
    let mut berth = Berth::start(Shape {
        machines: 1,
        replicas: 2,
    });
    keys::come_and_go(&berth);
    berth.stop();
    berth.assert_no_errors();
}

#[test]
fn every_rpc_admits_those_it_names_and_nobody_else() {
    let mut berth = Berth::start(Shape {
        machines: 1,
        replicas: 1,
    });
    access::every_rpc(&berth);
    berth.stop();
}

#[test]
fn every_field_refuses_what_it_cannot_take_and_says_so() {
    let mut berth = Berth::start(Shape {
        machines: 2,
        replicas: 1,
    });
    fields::refuse_what_they_cannot_take(&berth);
    berth.stop();
}
