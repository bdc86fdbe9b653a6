//! Workers and work, for the tests of the reconciler.

use berth_core::Result;
use berth_runtime::reconcile::{self, Claim, Outcome, Reconciler, guard};
use futures::future::BoxFuture;
use sqlx::PgPool;
use uuid::Uuid;

/// The one kind of work.
pub(crate) const KIND: &str = "test";

/// A worker of its own, as each replica has one.
pub(crate) fn worker<F>(db: &PgPool, step: F) -> Reconciler
where
    F: Fn(Claim) -> BoxFuture<'static, Result<Outcome>> + Send + Sync + 'static,
{
    Reconciler::new(db.clone(), 2).on(KIND, step)
}

/// A worker whose steps all come to the same.
pub(crate) fn worker_that(db: &PgPool, outcome: fn() -> Result<Outcome>) -> Reconciler {
    worker(db, move |_| Box::pin(async move { outcome() }))
}

pub(crate) async fn wake(db: &PgPool, object: Uuid) {
    let mut conn = db.acquire().await.unwrap();
    reconcile::wake(&mut conn, KIND, object).await.unwrap();
}

/// New work.
pub(crate) async fn woken(db: &PgPool) -> Uuid {
    let object = Uuid::now_v7();
    wake(db, object).await;
    object
}

/// What a step does to the world, under its claim.
pub(crate) async fn write(db: &PgPool, claim: &Claim) -> Result<()> {
    let mut txn = db.begin().await.unwrap();
    guard(&mut txn, claim).await?;
    sqlx::query("insert into effect values ($1)")
        .bind(claim.object_id)
        .execute(&mut *txn)
        .await
        .unwrap();
    txn.commit().await.unwrap();
    Ok(())
}

/// As if the worker that holds it had been paused for longer than a claim lasts.
pub(crate) async fn expire(db: &PgPool) {
    sqlx::query("update work set claimed_until = now() - interval '1 second'")
        .execute(db)
        .await
        .unwrap();
}

/// As if the time to wait had passed.
pub(crate) async fn make_due(db: &PgPool) {
    sqlx::query("update work set not_before = now()")
        .execute(db)
        .await
        .unwrap();
}

/// What the table says of the only work there is.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Row {
    pub(crate) attempts: i32,
    pub(crate) outcome: Option<String>,
    pub(crate) reason: Option<String>,
    /// Seconds until it is due.
    pub(crate) due: f64,
    pub(crate) claimed: bool,
}

pub(crate) async fn row(db: &PgPool) -> Option<Row> {
    sqlx::query_as(
        "select attempts, outcome, reason, claimed_until is not null as claimed,
                extract(epoch from not_before - now())::float8 as due from work",
    )
    .fetch_optional(db)
    .await
    .unwrap()
}
