//! Leases for the tests of decisions.

use super::{Grant, Lease, State, Wish};
use berth_core::{AccountId, Currency, LeaseId, MachineId, Money, OfferId};
use chrono::{DateTime, TimeDelta};

/// One euro an hour, for at most a day.
pub(super) fn grant() -> Grant {
    Grant {
        machine_id: MachineId::generate(),
        offer_id: OfferId::generate(),
        price: Money::new(Currency::EUR, 1_000_000),
        max_term: Some(TimeDelta::days(1)),
    }
}

/// A lease of two hours from the epoch on, in a state.
pub(super) fn lease(state: State) -> Lease {
    let begun = (state != State::Pending).then_some(DateTime::UNIX_EPOCH);
    let term = TimeDelta::hours(2);
    Lease {
        id: LeaseId::generate(),
        account_id: AccountId::generate(),
        wish: Wish::Offer(OfferId::generate()),
        term,
        display_name: String::new(),
        state,
        status_reason: String::new(),
        close_reason: None,
        grant: Some(grant()),
        start_time: begun,
        expire_time: begun.map(|start| start + term),
        end_time: None,
        charged_until: begun,
        cost_micros: 0,
        unpaid_since: None,
        version: 1,
        create_time: DateTime::UNIX_EPOCH,
    }
}
