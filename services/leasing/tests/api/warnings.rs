//! What accounts are told of their leases and their money, and extending a
//! lease while it expires.

use crate::fixture::{CloseReason, House, PRICE, State, id, ran, reason, seconds, state};
use berth_core::{Currency, Money};
use berth_leasing::store::MIGRATIONS;
use berth_proto::leasing::v1 as pb;
use berth_proto::leasing::v1::leasing_service_server::LeasingService as _;
use chrono::TimeDelta;
use sqlx::PgPool;
use std::sync::Arc;
use tokio::task::JoinSet;

const DAY: i64 = 86_400;

async fn warnings(house: &House, lease: &str) -> Vec<String> {
    house.get(lease).await.status.unwrap().warnings
}

async fn balance(house: &House) -> pb::Balance {
    let request = house.request(pb::GetBalanceRequest {});
    let answer = house.api.get_balance(request).await.unwrap();
    answer.into_inner().balances.remove(0)
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn an_account_is_told_in_order_how_its_money_runs_out_and_when_what_stops(db: PgPool) {
    let house = House::new(db, 1, PRICE * 3 / 2).await;
    let lease = house.lease_of(DAY).await.id;
    house.turn().await;
    assert_eq!(house.topics().await, ["balance.low"]);
    let first = balance(&house).await;
    assert!(first.warning.contains("1.50 EUR is empty at"), "{first:?}");
    assert!(first.empty_time.is_some());

    // Fifty minutes are left, then none.
    house.pass(2400).await;
    house.turn().await;
    house.turn().await;
    assert_eq!(house.topics().await, ["balance.low", "balance.low"]);
    assert_eq!(warnings(&house, &lease).await, [""; 0]);
    house.pass(3600).await;
    house.turn().await;
    house.turn().await;
    let events = house.events().await;
    let last = events.last().unwrap();
    assert_eq!((events.len(), last.topic.as_str()), (3, "lease.unpaid"));
    assert_eq!(last.lease_id, lease);
    let stops = last.stop_time.as_ref().unwrap().seconds;
    let said = chrono::DateTime::from_timestamp(stops, 0).unwrap();
    let said = said.format("%Y-%m-%d %H:%M:%S UTC").to_string();
    assert!(last.message.contains(&said), "{last:?}");
    assert_eq!(warnings(&house, &lease).await, [last.message.as_str()]);

    house.pass(61).await;
    let closed = house.until(&lease, State::Closed).await;
    let status = closed.status.as_ref().unwrap();
    assert_eq!(status.close_reason(), CloseReason::InsufficientFunds);
    // To the second that the warning named.
    let ended = status.end_time.as_ref().unwrap().seconds;
    assert!((0..=2).contains(&(ended - (stops - 61))), "{ended} {stops}");
    let topics = house.topics().await;
    assert_eq!(
        topics,
        ["balance.low", "balance.low", "lease.unpaid", "lease.ended"]
    );
    let events = house.events().await;
    let why = &events.last().unwrap().message;
    assert!(why.contains("could not pay any more"), "{why}");
    assert_eq!(status.warnings, [""; 0]);
    let (_, cost) = ran(&closed);
    assert_eq!(house.books().await, (0, cost));
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_lease_that_is_paid_again_is_told_of_and_so_is_the_next_want(db: PgPool) {
    let house = House::new(db, 1, PRICE).await;
    let lease = house.lease_of(DAY).await.id;
    house.pass(4000).await;
    house.turn().await;
    assert_eq!(house.topics().await, ["lease.unpaid"]);
    house.credit(100 * PRICE).await;
    house.turn().await;
    assert_eq!(house.topics().await, ["lease.unpaid", "lease.paid"]);
    assert_eq!(warnings(&house, &lease).await, [""; 0]);
    assert_eq!(balance(&house).await.warning, "");
    assert_eq!(balance(&house).await.empty_time, None);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_lease_is_told_of_before_its_end_once_and_again_when_that_has_moved(db: PgPool) {
    let house = House::new(db, 1, 100 * PRICE).await;
    let lease = house.lease_of(7200).await.id;
    house.turn().await;
    assert_eq!(house.topics().await, [""; 0]);
    house.pass(3700).await;
    house.turn().await;
    house.turn().await;
    assert_eq!(house.topics().await, ["lease.ends_soon"]);
    assert_eq!(warnings(&house, &lease).await.len(), 1);

    let extend = pb::ExtendLeaseRequest {
        request_id: id(),
        lease_id: lease.clone(),
        by: Some(seconds(7200)),
        etag: String::new(),
    };
    house.api.extend_lease(house.request(extend)).await.unwrap();
    assert_eq!(warnings(&house, &lease).await.len(), 0, "it ends later now");
    house.pass(7200).await;
    house.turn().await;
    assert_eq!(house.topics().await.len(), 2);
    house.pass(7200).await;
    house.until(&lease, State::Closed).await;
    let topics = house.topics().await;
    assert_eq!(
        topics,
        ["lease.ends_soon", "lease.ends_soon", "lease.ended"]
    );
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn an_account_is_told_once_however_many_look_at_once(db: PgPool) {
    let house = Arc::new(House::new(db, 3, 4 * PRICE).await);
    for _ in 0..3 {
        house.lease_of(DAY).await;
    }
    house.pass(3590).await;
    let mut looks = JoinSet::new();
    for _ in 0..12 {
        let here = Arc::clone(&house);
        looks.spawn(async move { here.turn().await });
    }
    looks.join_all().await;
    house.pass(3600).await;
    for _ in 0..6 {
        house.turn().await;
    }
    let topics = house.topics().await;
    let count = |topic: &str| topics.iter().filter(|told| *told == topic).count();
    assert_eq!(count("balance.low"), 1, "{topics:?}");
    assert_eq!(count("lease.unpaid"), 3, "{topics:?}");
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn another_account_is_told_nothing(db: PgPool) {
    let house = House::new(db, 1, PRICE).await;
    house.lease_of(DAY).await;
    house.turn().await;
    assert_eq!(house.topics().await.len(), 1);
    let mut request = house.request(pb::ListAccountEventsRequest::default());
    let other = berth_core::AccountId::generate();
    request.extensions_mut().insert(other);
    let answer = house.api.list_account_events(request).await.unwrap();
    assert_eq!(answer.into_inner().events, []);
}

/// Extends and expires a lease that has some milliseconds left, many at once.
async fn race(house: &Arc<House>, left: i64) {
    let lease = house.lease().await.id;
    sqlx::query(
        "update lease set start_time = now() + $2 - interval '2 hours',
                charged_until = now() + $2 - interval '2 hours', expire_time = now() + $2
         where id = $1",
    )
    .bind(lease.parse::<berth_core::LeaseId>().unwrap())
    .bind(TimeDelta::milliseconds(left))
    .execute(&house.db)
    .await
    .unwrap();
    let begun = house.get(&lease).await.status.unwrap().expire_time.unwrap();

    let mut calls = JoinSet::new();
    for _ in 0..6 {
        let (here, lease) = (Arc::clone(house), lease.clone());
        calls.spawn(async move {
            let extend = pb::ExtendLeaseRequest {
                request_id: id(),
                lease_id: lease,
                by: Some(seconds(60)),
                etag: String::new(),
            };
            match here.api.extend_lease(here.request(extend)).await {
                Ok(_) => 1,
                Err(refused) => {
                    assert_eq!(reason(&refused), "LEASE_STATE", "{refused}");
                    0
                }
            }
        });
        let here = Arc::clone(house);
        calls.spawn(async move {
            here.turn().await;
            0
        });
    }
    let extended: i64 = calls.join_all().await.into_iter().sum();
    if extended == 0 {
        let closed = house.until(&lease, State::Closed).await;
        let status = closed.status.as_ref().unwrap();
        assert_eq!(status.close_reason(), CloseReason::Expired);
        assert_eq!(ran(&closed), (7200, 2 * PRICE));
        return;
    }
    let alive = house.get(&lease).await;
    assert_eq!(state(&alive), State::Active, "{alive:?}");
    let expires = alive.status.unwrap().expire_time.unwrap();
    assert_eq!(expires.seconds - begun.seconds, 60 * extended);
    house.pass(60 * extended + 5).await;
    let closed = house.until(&lease, State::Closed).await;
    let length = 7200 + 60 * extended;
    let price = Money::new(Currency::EUR, PRICE).for_time(TimeDelta::seconds(length));
    assert_eq!(ran(&closed), (length, price.micros));
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_lease_that_is_extended_while_it_expires_goes_on_or_is_over_and_is_paid_once(db: PgPool) {
    let house = Arc::new(House::new(db, 8, 100 * PRICE).await);
    for left in [-1000, 0, 5, 20, 60, 2000] {
        race(&house, left).await;
    }
    let (sum, charged) = house.books().await;
    assert_eq!(sum, 0);
    assert_eq!(house.balance().await, (100 * PRICE - charged, 0));
    let leases = house.list(State::Unspecified).await;
    let costs: i64 = leases.iter().map(|lease| ran(lease).1).sum();
    assert_eq!((leases.len(), costs), (6, charged));
}
