//! What becomes of leases by themselves: charging, expiry, want of money,
//! interrupted calls.

use crate::fixture::{self, CloseReason, House, MachineState, PRICE, State, ran, state};
use crate::leases::extend;
use berth_core::{Currency, Money};
use berth_leasing::store::MIGRATIONS;
use berth_proto::leasing::v1 as pb;
use chrono::TimeDelta;
use sqlx::PgPool;
use std::sync::Arc;
use tokio::task::JoinSet;

/// What so many seconds must cost.
fn price(seconds: i64) -> i64 {
    Money::new(Currency::EUR, PRICE)
        .for_time(TimeDelta::seconds(seconds))
        .micros
}

fn reason(lease: &pb::Lease) -> CloseReason {
    lease.status.as_ref().unwrap().close_reason()
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_lease_that_is_ended_is_charged_to_its_last_second_and_its_machine_wiped(db: PgPool) {
    let house = House::new(db, 1, 2 * PRICE).await;
    let lease = house.lease().await;
    house.pass(1234).await;
    let ending = house.end(&lease.id).await.unwrap();
    assert_eq!(
        (state(&ending), reason(&ending)),
        (State::Ending, CloseReason::Owner)
    );
    let (seconds, cost) = ran(&ending);
    assert!(seconds >= 1234);
    assert_eq!(cost, price(seconds));
    assert_eq!(house.books().await, (0, cost));
    assert_eq!(house.balance().await, (2 * PRICE - cost, 0));
    // Ending what is ending succeeds and changes nothing.
    assert_eq!(house.end(&lease.id).await.unwrap(), ending);

    let closed = house.until(&lease.id, State::Closed).await;
    assert_eq!(ran(&closed), (seconds, cost));
    assert_eq!(house.machines(MachineState::Wiping).await, 1);
    assert_eq!(house.end(&lease.id).await.unwrap(), closed);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_lease_costs_the_same_however_often_it_is_charged(db: PgPool) {
    let house = House::new(db, 1, 2 * PRICE).await;
    let lease = house.lease().await.id;
    for step in [1, 7, 59, 600, 1] {
        house.pass(step).await;
        house.turn().await;
    }
    let ended = house.end(&lease).await.unwrap();
    let (seconds, cost) = ran(&ended);
    assert_eq!(cost, price(seconds));
    assert_eq!(house.books().await, (0, cost));
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn nobody_is_charged_twice_however_many_charge_and_end_at_once(db: PgPool) {
    let house = Arc::new(House::new(db, 1, 2 * PRICE).await);
    let lease = house.lease().await.id;
    house.pass(3600).await;
    let mut calls = JoinSet::new();
    for _ in 0..8 {
        let (here, lease) = (Arc::clone(&house), lease.clone());
        calls.spawn(async move {
            here.turn().await;
            here.end(&lease).await.unwrap();
        });
        let here = Arc::clone(&house);
        calls.spawn(async move { here.turn().await });
    }
    calls.join_all().await;
    let closed = house.until(&lease, State::Closed).await;
    let (seconds, cost) = ran(&closed);
    assert_eq!(cost, price(seconds));
    assert_eq!(house.books().await, (0, cost));
    assert_eq!(house.balance().await, (2 * PRICE - cost, 0));
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_lease_ends_when_its_time_is_up_and_costs_exactly_its_term(db: PgPool) {
    let house = House::new(db, 1, 3 * PRICE).await;
    let lease = house.lease().await.id;
    // Leasing was away for hours.
    house.pass(20_000).await;
    let closed = house.until(&lease, State::Closed).await;
    assert_eq!(reason(&closed), CloseReason::Expired);
    assert_eq!(
        closed.status.as_ref().unwrap().status_reason,
        "its time was up"
    );
    assert_eq!(ran(&closed), (7200, 2 * PRICE));
    assert_eq!(house.books().await, (0, 2 * PRICE));
    assert_eq!(house.machines(MachineState::Wiping).await, 1);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_lease_that_is_extended_as_its_time_is_up_ends_or_goes_on_but_never_both(db: PgPool) {
    const ROUNDS: u8 = 6;
    let house = Arc::new(House::new(db, ROUNDS, 20 * PRICE).await);
    let mut spent = 0;
    for round in 0..ROUNDS {
        let lease = house.lease().await.id;
        house.pass(7200 + 30).await;
        let mut calls = JoinSet::new();
        for caller in 0..8 {
            let (house, lease) = (Arc::clone(&house), lease.clone());
            calls.spawn(async move {
                if caller % 2 == round % 2 {
                    house.turn().await;
                    return Ok(0);
                }
                extend(&house, &lease, 60, "").await.map(|_| 60)
            });
        }
        let mut longer = 0;
        for answer in calls.join_all().await {
            match answer {
                Ok(by) => longer += by,
                Err(refused) => assert_eq!(fixture::reason(&refused), "LEASE_STATE"),
            }
        }
        // Whoever was told that it is longer has it for that long.
        let goes_on = state(&house.get(&lease).await) == State::Active;
        assert_eq!(goes_on, longer > 0, "longer by {longer} seconds");
        house.pass(20_000).await;
        let closed = house.until(&lease, State::Closed).await;
        assert_eq!(reason(&closed), CloseReason::Expired);
        let seconds = 7200 + longer;
        assert_eq!(ran(&closed), (seconds, price(seconds)));
        spent += price(seconds);
    }
    assert_eq!(house.books().await, (0, spent));
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_lease_that_is_not_paid_any_more_ends_after_a_grace(db: PgPool) {
    let house = House::new(db, 1, PRICE).await;
    let lease = house.lease().await.id;
    house.pass(4000).await;
    house.turn().await;
    let warned = house.get(&lease).await;
    let why = &warned.status.as_ref().unwrap().status_reason;
    assert_eq!(state(&warned), State::Active);
    assert!(
        why.starts_with("the account owes money (balance -0.11"),
        "{why}"
    );
    house.pass(61).await;
    let closed = house.until(&lease, State::Closed).await;
    assert_eq!(reason(&closed), CloseReason::InsufficientFunds);
    let (seconds, cost) = ran(&closed);
    assert_eq!((cost, house.books().await), (price(seconds), (0, cost)));
    assert_eq!(house.balance().await, (PRICE - cost, 0));
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_lease_that_is_paid_in_time_goes_on(db: PgPool) {
    let house = House::new(db, 1, PRICE).await;
    let lease = house.lease().await.id;
    house.pass(4000).await;
    house.turn().await;
    house.credit(PRICE).await;
    house.pass(61).await;
    house.turn().await;
    let lease = house.get(&lease).await;
    assert_eq!(state(&lease), State::Active);
    assert_eq!(lease.status.unwrap().status_reason, "");
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_lease_waits_for_inventory_and_then_begins(db: PgPool) {
    let house = House::disconnected(db, 1, 2 * PRICE).await;
    let lease = house.create(house.wish()).await.unwrap();
    assert_eq!(state(&lease), State::Pending);
    assert!(lease.reconciling);
    house.turn().await;
    let waiting = house.get(&lease.id).await.status.unwrap();
    assert_eq!(
        waiting.status_reason,
        "waiting for inventory to hold a machine"
    );
    house.connect();
    let active = house.until(&lease.id, State::Active).await;
    assert_eq!(active.status.unwrap().status_reason, "");
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_lease_that_was_never_placed_can_be_ended_and_costs_nothing(db: PgPool) {
    let house = House::disconnected(db, 1, 2 * PRICE).await;
    let lease = house.create(house.wish()).await.unwrap().id;
    house.end(&lease).await.unwrap();
    house.connect();
    let closed = house.until(&lease, State::Closed).await;
    assert_eq!(closed.status.unwrap().cost, None);
    assert_eq!(house.books().await, (0, 0));
    assert_eq!(house.machines(MachineState::Available).await, 1);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_machine_is_leased_again_only_after_its_last_lease_is_closed(db: PgPool) {
    let house = House::new(db, 1, 4 * PRICE).await;
    let lease = house.lease().await;
    let machine = lease.status.unwrap().machine_id;
    let same_machine = sqlx::query(
        "insert into lease (id, account_id, max_currency, max_micros, term_seconds, display_name,
                            state, machine_id)
         select gen_random_uuid(), account_id, 'EUR', 1, 60, '', 'pending', machine_id from lease",
    );
    let refused = same_machine.execute(&house.db).await.unwrap_err();
    let constraint = refused.as_database_error().unwrap().constraint();
    assert_eq!(constraint, Some("lease_machine_busy"));
    assert_eq!(house.machine_state(&machine).await, MachineState::Leased);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_lease_that_was_interrupted_after_any_step_begins_once(db: PgPool) {
    let house = House::new(db, 1, 2 * PRICE).await;
    let lease = house.lease().await;
    let machine = lease.status.unwrap().machine_id;
    // As the database is when the process dies before the last step, and
    // before the one before it.
    for lost in [
        "update lease set state = 'pending', start_time = null, expire_time = null,
             charged_until = null",
        "update lease set state = 'pending', start_time = null, expire_time = null,
             charged_until = null, machine_id = null, offer_id = null, currency = null,
             price_micros = null, max_seconds = null",
    ] {
        sqlx::query(lost).execute(&house.db).await.unwrap();
        let active = house.until(&lease.id, State::Active).await;
        assert_eq!(active.status.unwrap().machine_id, machine);
        assert_eq!(house.machine_state(&machine).await, MachineState::Leased);
    }
    assert_eq!(house.list(State::Unspecified).await.len(), 1);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_lease_that_was_interrupted_while_it_closed_closes_once(db: PgPool) {
    let house = House::new(db, 1, 2 * PRICE).await;
    let lease = house.lease().await.id;
    house.end(&lease).await.unwrap();
    house.until(&lease, State::Closed).await;
    sqlx::query("update lease set state = 'ending'")
        .execute(&house.db)
        .await
        .unwrap();
    // Inventory has the machine back already.
    sqlx::query("insert into work (kind, object_id) select 'lease', id from lease")
        .execute(&house.db)
        .await
        .unwrap();
    house.until(&lease, State::Closed).await;
    assert_eq!(house.machines(MachineState::Wiping).await, 1);
}
