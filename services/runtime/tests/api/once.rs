//! Doing a request once, however often and at the same time it is sent.

use berth_core::{AccountId, Error, LeaseId, Result};
use berth_proto::leasing::v1::{CreateLeaseRequest, CreditAccountRequest, EndLeaseRequest};
use berth_runtime::once::once;
use sqlx::PgPool;
use tokio::task::JoinSet;
use uuid::Uuid;

fn credit(memo: &str) -> CreditAccountRequest {
    CreditAccountRequest {
        memo: memo.to_owned(),
        ..CreditAccountRequest::default()
    }
}

/// Sends a request whose effect is a row.
async fn send<Req>(db: &PgPool, account: AccountId, id: Uuid, request: &Req) -> Result<LeaseId>
where
    Req: prost::Message + prost::Name,
{
    once(db, account, &id.to_string(), request, async |conn| {
        let lease = LeaseId::generate();
        sqlx::query("insert into effect values ($1)")
            .bind(lease)
            .execute(conn)
            .await
            .unwrap();
        Ok(lease)
    })
    .await
}

async fn effects(db: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from effect")
        .fetch_one(db)
        .await
        .unwrap()
}

#[sqlx::test(migrations = "tests/migrations")]
async fn sixteen_equal_requests_at_once_have_one_effect_and_one_answer(db: PgPool) {
    let (account, id) = (AccountId::generate(), Uuid::now_v7());
    let mut racing = JoinSet::new();
    for _ in 0..16 {
        let db = db.clone();
        racing.spawn(async move { send(&db, account, id, &credit("one")).await.unwrap() });
    }
    let mut answers = racing.join_all().await;
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(effects(&db).await, 1);
}

#[sqlx::test(migrations = "tests/migrations")]
async fn sixteen_different_requests_under_one_id_have_one_effect(db: PgPool) {
    let (account, id) = (AccountId::generate(), Uuid::now_v7());
    let mut racing = JoinSet::new();
    for number in 0..16 {
        let db = db.clone();
        let request = credit(&number.to_string());
        racing.spawn(async move { send(&db, account, id, &request).await });
    }
    let answers = racing.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    for error in answers.into_iter().filter_map(Result::err) {
        let Error::Invalid { reason, violations } = error else {
            panic!("{error:?}");
        };
        assert_eq!(reason, "REQUEST_ID_REUSED");
        assert_eq!(violations[0].field, "request_id");
    }
    assert_eq!(effects(&db).await, 1);
}

#[sqlx::test(migrations = "tests/migrations")]
async fn the_same_bytes_of_another_method_are_another_request(db: PgPool) {
    let (account, id) = (AccountId::generate(), Uuid::now_v7());
    send(&db, account, id, &CreateLeaseRequest::default())
        .await
        .unwrap();
    let again = send(&db, account, id, &EndLeaseRequest::default()).await;
    assert!(matches!(again, Err(Error::Invalid { .. })), "{again:?}");
}

#[sqlx::test(migrations = "tests/migrations")]
async fn accounts_do_not_see_each_others_requests(db: PgPool) {
    let id = Uuid::now_v7();
    let (one, other) = (AccountId::generate(), AccountId::generate());
    let first = send(&db, one, id, &credit("x")).await.unwrap();
    let second = send(&db, other, id, &credit("x")).await.unwrap();
    assert_ne!(first, second);
    // Nor can they be compared by whoever reads the table.
    let hashes: i64 = sqlx::query_scalar("select count(distinct body_hash) from request")
        .fetch_one(&db)
        .await
        .unwrap();
    assert_eq!(hashes, 2);
}

#[sqlx::test(migrations = "tests/migrations")]
async fn a_request_that_failed_may_be_sent_again(db: PgPool) {
    let (account, id) = (AccountId::generate(), Uuid::now_v7());
    let refused: Result<LeaseId> = once(
        &db,
        account,
        &id.to_string(),
        &credit("x"),
        async |_: &mut _| Err(Error::exhausted("NO_CAPACITY", "nothing fits")),
    )
    .await;
    assert!(matches!(refused, Err(Error::Exhausted { .. })));
    send(&db, account, id, &credit("y")).await.unwrap();
    assert_eq!(effects(&db).await, 1);
}

#[sqlx::test(migrations = "tests/migrations")]
async fn an_id_that_is_no_uuid_is_refused_by_name(db: PgPool) {
    let account = AccountId::generate();
    for id in ["", "1", "lease-0198c0de-89ab-7def-8123-456789abcdef"] {
        let answer: Result<LeaseId> = once(&db, account, id, &credit(""), async |_: &mut _| {
            panic!("this is not done")
        })
        .await;
        let Err(Error::Invalid { violations, .. }) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(violations[0].field, "request_id");
    }
}
