//! Leases: asking for one, and what callers may see and do.

use crate::fixture::{
    CloseReason, House, MachineState, PRICE, State, euro, fields, id, reason, seconds, state,
};
use berth_core::{AccountId, OfferId};
use berth_leasing::store::MIGRATIONS;
use berth_proto::api::v1::Requirements;
use berth_proto::leasing::v1 as pb;
use berth_proto::leasing::v1::leasing_service_server::LeasingService as _;
use berth_runtime::auth::Peer;
use sqlx::PgPool;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::task::JoinSet;
use tonic::{Code, Request, Status};

pub(crate) async fn extend(
    house: &House,
    lease: &str,
    by: i64,
    etag: &str,
) -> Result<pb::Lease, Status> {
    let message = pb::ExtendLeaseRequest {
        request_id: id(),
        lease_id: lease.to_owned(),
        by: Some(seconds(by)),
        etag: etag.to_owned(),
    };
    let answer = house.api.extend_lease(house.request(message)).await?;
    Ok(answer.into_inner().lease.unwrap())
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_lease_begins_at_once_when_a_machine_fits_and_money_is_there(db: PgPool) {
    let house = House::new(db, 1, 2 * PRICE).await;
    let lease = house.lease().await;
    let status = lease.status.clone().unwrap();
    assert_eq!(status.price_per_hour, Some(euro(PRICE)));
    let (start, expire) = (status.start_time.unwrap(), status.expire_time.unwrap());
    assert_eq!(expire.seconds - start.seconds, 7200);
    assert!(!lease.reconciling);
    assert_eq!(
        house.machine_state(&status.machine_id).await,
        MachineState::Leased
    );
    assert_eq!(house.balance().await.1, PRICE);
    assert_eq!(house.get(&lease.id).await.spec, lease.spec);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_lease_can_be_of_a_certain_offer(db: PgPool) {
    let house = House::new(db, 2, 2 * PRICE).await;
    let first = house.lease().await.status.unwrap();
    let by_offer = |offer: &str| pb::CreateLeaseRequest {
        request_id: id(),
        spec: Some(pb::LeaseSpec {
            offer_id: offer.to_owned(),
            term: Some(seconds(60)),
            ..Default::default()
        }),
    };
    let refused = house.create(by_offer(&first.offer_id)).await.unwrap_err();
    assert_eq!(reason(&refused), "NO_CAPACITY");
    let nowhere = OfferId::generate().to_string();
    let refused = house.create(by_offer(&nowhere)).await.unwrap_err();
    assert_eq!(refused.message(), format!("offer `{nowhere}` not found"));
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_lease_that_no_machine_fits_is_refused_and_may_be_had_later(db: PgPool) {
    let house = House::new(db, 0, 2 * PRICE).await;
    let message = house.wish();
    let refused = house.create(message.clone()).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused)),
        (Code::ResourceExhausted, "NO_CAPACITY".to_owned())
    );
    let ending = house.list(State::Ending).await.remove(0);
    let closed = house.until(&ending.id, State::Closed).await;
    assert_eq!(
        closed.status.unwrap().close_reason(),
        CloseReason::NoCapacity
    );
    // The same request again, once there is a machine.
    house.supply(1).await;
    let lease = house.create(message).await.unwrap();
    assert_eq!(state(&lease), State::Active);
    assert_ne!(lease.id, ending.id);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_lease_that_cannot_be_paid_for_is_refused_and_its_machine_is_free(db: PgPool) {
    let house = House::new(db, 1, PRICE - 1).await;
    let refused = house.create(house.wish()).await.unwrap_err();
    assert_eq!(reason(&refused), "INSUFFICIENT_FUNDS");
    assert_eq!(
        refused.message(),
        "the first hour costs 1.00 EUR and the balance is 0.999999 EUR; add 0.000001 EUR or more"
    );
    let ending = house.list(State::Ending).await.remove(0);
    let closed = house.until(&ending.id, State::Closed).await.status.unwrap();
    assert_eq!(closed.close_reason(), CloseReason::InsufficientFunds);
    assert_eq!((closed.cost, closed.start_time), (None, None));
    assert_eq!(house.machines(MachineState::Available).await, 1);
    assert_eq!(house.books().await, (0, 0));
    house.credit(1).await;
    house.lease().await;
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn thirty_two_leases_at_once_get_eight_machines_once_each(db: PgPool) {
    let house = Arc::new(House::new(db, 8, 32 * PRICE).await);
    let mut calls = JoinSet::new();
    for _ in 0..32 {
        let house = Arc::clone(&house);
        calls.spawn(async move { house.create(house.wish()).await });
    }
    let (won, lost): (Vec<_>, Vec<_>) = calls.join_all().await.into_iter().partition(Result::is_ok);
    let machines: BTreeSet<_> = won
        .into_iter()
        .map(|lease| lease.unwrap().status.unwrap().machine_id)
        .collect();
    assert_eq!((machines.len(), lost.len()), (8, 24));
    for refused in lost {
        assert_eq!(reason(&refused.unwrap_err()), "NO_CAPACITY");
    }
    assert_eq!(house.list(State::Active).await.len(), 8);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn money_for_one_lease_begins_one_of_many_asked_for_at_once(db: PgPool) {
    let house = Arc::new(House::new(db, 4, PRICE).await);
    let mut calls = JoinSet::new();
    for _ in 0..4 {
        let house = Arc::clone(&house);
        calls.spawn(async move { house.create(house.wish()).await });
    }
    let (won, lost): (Vec<_>, Vec<_>) = calls.join_all().await.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1);
    for refused in lost {
        let refused = refused.unwrap_err();
        assert_eq!(reason(&refused), "INSUFFICIENT_FUNDS", "{refused:?}");
    }
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_request_sent_many_times_at_once_makes_one_lease(db: PgPool) {
    let house = Arc::new(House::new(db, 4, 4 * PRICE).await);
    let message = house.wish();
    let mut calls = JoinSet::new();
    for _ in 0..16 {
        let (house, message) = (Arc::clone(&house), message.clone());
        calls.spawn(async move { house.create(message).await.unwrap().id });
    }
    let ids: BTreeSet<_> = calls.join_all().await.into_iter().collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(house.machines(MachineState::Available).await, 3);
    let other = pb::CreateLeaseRequest {
        request_id: message.request_id,
        ..house.wish()
    };
    let mut other = other;
    other.spec.as_mut().unwrap().display_name = "another".to_owned();
    let refused = house.create(other).await.unwrap_err();
    assert_eq!(reason(&refused), "REQUEST_ID_REUSED");
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn another_account_cannot_see_or_touch_a_lease(db: PgPool) {
    let mut house = House::new(db, 1, 2 * PRICE).await;
    let lease = house.lease().await.id;
    house.account = AccountId::generate();
    let message = pb::GetLeaseRequest {
        lease_id: lease.clone(),
    };
    let seen = house.api.get_lease(house.request(message)).await;
    for refused in [
        seen.map(|_| ()),
        house.end(&lease).await.map(|_| ()),
        extend(&house, &lease, 60, "").await.map(|_| ()),
    ] {
        assert_eq!(refused.unwrap_err().code(), Code::NotFound);
    }
    assert_eq!(house.list(State::Unspecified).await, []);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_lease_is_extended_as_far_as_its_offer_allows(db: PgPool) {
    let house = House::new(db, 1, 2 * PRICE).await;
    let lease = house.lease().await;
    let longer = extend(&house, &lease.id, 3600, &lease.etag).await.unwrap();
    let expire = |lease: &pb::Lease| lease.status.as_ref().unwrap().expire_time.unwrap().seconds;
    assert_eq!(expire(&longer) - expire(&lease), 3600);
    let stale = extend(&house, &lease.id, 3600, &lease.etag)
        .await
        .unwrap_err();
    assert_eq!(stale.code(), Code::Aborted);
    let refused = extend(&house, &lease.id, 86400, "").await.unwrap_err();
    assert_eq!(reason(&refused), "TERM_NOT_OFFERED");
    let refused = extend(&house, &lease.id, 59, "").await.unwrap_err();
    assert_eq!(fields(&refused), ["by"]);
    house.end(&lease.id).await.unwrap();
    let refused = extend(&house, &lease.id, 60, "").await.unwrap_err();
    assert_eq!(reason(&refused), "LEASE_STATE");
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn charging_does_not_make_an_etag_stale(db: PgPool) {
    let house = House::new(db, 1, 2 * PRICE).await;
    let lease = house.lease().await;
    house.pass(600).await;
    house.turn().await;
    assert!(house.books().await.1 > 0);
    assert!(extend(&house, &lease.id, 60, &lease.etag).await.is_ok());
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn only_provisioning_may_say_that_a_machine_was_lost(db: PgPool) {
    let house = House::new(db, 1, 2 * PRICE).await;
    let lease = house.lease().await.id;
    let end = |reason: CloseReason, role: &str| {
        let mut request = house.request(pb::EndLeaseRequest {
            request_id: id(),
            lease_id: lease.clone(),
            reason: reason.into(),
            ..Default::default()
        });
        let peer = Peer::Service(role.to_owned());
        request.extensions_mut().insert(peer);
        house.api.end_lease(request)
    };
    for (reason, role) in [
        (CloseReason::MachineLost, "gateway"),
        (CloseReason::Expired, "provisioning"),
    ] {
        let refused = end(reason, role).await.unwrap_err();
        assert_eq!(fields(&refused), ["reason"]);
    }
    let ended = end(CloseReason::MachineLost, "provisioning").await.unwrap();
    let status = ended.into_inner().lease.unwrap().status.unwrap();
    assert_eq!(status.close_reason(), CloseReason::MachineLost);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn leases_are_listed_newest_first_page_by_page(db: PgPool) {
    let house = House::new(db, 3, 3 * PRICE).await;
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(house.lease().await.id);
    }
    made.reverse();
    let mut seen = Vec::new();
    let mut page_token = String::new();
    loop {
        let message = pb::ListLeasesRequest {
            page_size: 2,
            page_token,
            state: State::Active.into(),
        };
        let answer = house.api.list_leases(house.request(message)).await;
        let answer = answer.unwrap().into_inner();
        seen.extend(answer.leases.into_iter().map(|lease| lease.id));
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, made);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn everything_wrong_with_a_request_is_said_at_once(db: PgPool) {
    let house = House::new(db, 0, 0).await;
    let create = async |spec: Option<pb::LeaseSpec>| {
        let message = pb::CreateLeaseRequest {
            request_id: id(),
            spec,
        };
        fields(&house.create(message).await.unwrap_err())
    };
    assert_eq!(create(None).await, ["spec"]);
    let spec = pb::LeaseSpec {
        requirements: Some(Requirements {
            memory_bytes: u64::MAX,
            cpu_flags: vec!["x".to_owned(); 65],
            gpu_driver: "new".to_owned(),
            ..Default::default()
        }),
        term: Some(seconds(1)),
        display_name: "a\nb".to_owned(),
        ..Default::default()
    };
    assert_eq!(
        create(Some(spec)).await,
        [
            "spec.requirements.memory_bytes",
            "spec.requirements.cpu_flags",
            "spec.requirements.gpu_driver",
            "spec.max_price_per_hour",
            "spec.term",
            "spec.display_name"
        ]
    );
    let spec = pb::LeaseSpec {
        offer_id: "offer-1".to_owned(),
        ..Default::default()
    };
    assert_eq!(create(Some(spec)).await, ["spec.offer_id"]);
    let nobody = house.api.create_lease(Request::new(house.wish())).await;
    assert_eq!(nobody.unwrap_err().code(), Code::Unauthenticated);
}
