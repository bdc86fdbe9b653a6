//! Claims: each piece of work is one worker's, and a worker that lost it cannot
//! write any more.

use crate::eventually::eventually;
use crate::worker::{expire, row, wake, woken, worker, worker_that, write};
use berth_core::{Error, Result};
use berth_runtime::reconcile::{Claim, Outcome, guard};
use sqlx::PgPool;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use uuid::Uuid;

async fn holds(db: &PgPool, claim: &Claim) -> Result<()> {
    let mut txn = db.begin().await.unwrap();
    let held = guard(&mut txn, claim).await;
    // A transaction that is only dropped keeps its lock a little longer.
    txn.rollback().await.unwrap();
    held
}

#[sqlx::test(migrations = "tests/migrations")]
async fn eight_workers_do_each_piece_of_work_once(db: PgPool) {
    for _ in 0..40 {
        woken(&db).await;
    }
    let mut workers = JoinSet::new();
    for _ in 0..8 {
        let effects = db.clone();
        let worker = worker(&db, move |claim| {
            let db = effects.clone();
            Box::pin(async move {
                write(&db, &claim).await?;
                Ok(Outcome::Done)
            })
        });
        workers.spawn(async move { while worker.turn().await.unwrap() {} });
    }
    workers.join_all().await;
    let done: (i64, i64) = sqlx::query_as("select count(*), count(distinct object_id) from effect")
        .fetch_one(&db)
        .await
        .unwrap();
    assert_eq!(done, (40, 40));
    assert!(row(&db).await.is_none());
}

#[sqlx::test(migrations = "tests/migrations")]
async fn a_worker_that_was_paused_past_its_claim_cannot_write(db: PgPool) {
    woken(&db).await;
    let (one, other) = (
        worker_that(&db, || Ok(Outcome::Done)),
        worker_that(&db, || Ok(Outcome::Done)),
    );
    let stale = one.claim().await.unwrap().unwrap();
    assert!(other.claim().await.unwrap().is_none());
    holds(&db, &stale).await.unwrap();
    expire(&db).await;
    // Nobody was faster, so it still may.
    holds(&db, &stale).await.unwrap();
    let current = other.claim().await.unwrap().unwrap();
    assert!(current.number > stale.number);
    holds(&db, &current).await.unwrap();
    for _ in 0..2 {
        let error = write(&db, &stale).await.unwrap_err();
        assert!(matches!(error, Error::Fenced { .. }), "{error:?}");
    }
    write(&db, &current).await.unwrap();
}

#[sqlx::test(migrations = "tests/migrations")]
async fn not_even_when_the_work_was_done_and_made_anew(db: PgPool) {
    let object = woken(&db).await;
    let worker = worker_that(&db, || Ok(Outcome::Done));
    let stale = worker.claim().await.unwrap().unwrap();
    expire(&db).await;
    assert!(worker.turn().await.unwrap());
    assert!(row(&db).await.is_none(), "the work is done");
    assert!(matches!(
        holds(&db, &stale).await,
        Err(Error::Fenced { want: 0, .. })
    ));
    wake(&db, object).await;
    assert!(holds(&db, &stale).await.is_err());
    let current = worker.claim().await.unwrap().unwrap();
    assert!(current.number > stale.number);
    assert!(holds(&db, &stale).await.is_err());
    holds(&db, &current).await.unwrap();
}

#[sqlx::test(migrations = "tests/migrations")]
async fn a_guarded_transaction_keeps_others_from_claiming_until_it_ends(db: PgPool) {
    woken(&db).await;
    let worker = worker_that(&db, || Ok(Outcome::Done));
    let claim = worker.claim().await.unwrap().unwrap();
    expire(&db).await;
    let mut txn = db.begin().await.unwrap();
    guard(&mut txn, &claim).await.unwrap();
    assert!(worker.claim().await.unwrap().is_none());
    txn.commit().await.unwrap();
    assert!(worker.claim().await.unwrap().is_some());
}

#[sqlx::test(migrations = "tests/migrations")]
async fn what_a_stale_step_came_to_is_neither_recorded_nor_told(db: PgPool) {
    let outcomes = [
        || Ok(Outcome::Done),
        || Ok(Outcome::wait("stale", Duration::ZERO)),
        || Err(Error::internal("stale")),
    ];
    for outcome in outcomes {
        let object = woken(&db).await;
        let (begun, go_on) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let (tell, wait) = (begun.clone(), go_on.clone());
        let slow = worker(&db, move |_| {
            let (tell, wait) = (tell.clone(), wait.clone());
            Box::pin(async move {
                tell.add_permits(1);
                wait.acquire().await.unwrap().forget();
                outcome()
            })
        })
        .on_reason(|_, _, reason| panic!("told: {reason}"));
        let mut paused = JoinSet::new();
        paused.spawn(async move { slow.turn().await.unwrap() });
        begun.acquire().await.unwrap().forget();
        let other = worker_that(&db, || Ok(Outcome::Done));
        // Again, should the first renew its claim just then.
        eventually("the work is done by another", async || {
            expire(&db).await;
            other.turn().await.unwrap().then_some(())
        })
        .await;
        wake(&db, object).await;
        go_on.add_permits(1);
        assert!(paused.join_next().await.unwrap().unwrap());
        let row = row(&db).await.unwrap();
        assert!(row.outcome.is_none() && !row.claimed, "{row:?}");
        assert!(other.turn().await.unwrap());
    }
}

#[sqlx::test(migrations = "tests/migrations")]
async fn a_reason_is_written_while_nobody_else_can_claim(db: PgPool) {
    let object = woken(&db).await;
    let other = worker_that(&db, || Ok(Outcome::Done));
    let claims = db.clone();
    let waiting = worker(&db, move |_| {
        let db = claims.clone();
        Box::pin(async move {
            expire(&db).await;
            Ok(Outcome::wait("why", Duration::ZERO))
        })
    })
    .on_reason(move |conn, claim, reason| {
        let other = other.clone();
        Box::pin(async move {
            assert_eq!(reason, "why");
            assert!(other.claim().await?.is_none());
            let told = sqlx::query("insert into effect values ($1)").bind(claim.object_id);
            told.execute(conn).await.unwrap();
            Ok(())
        })
    });
    assert!(waiting.turn().await.unwrap());
    let told: Uuid = sqlx::query_scalar("select object_id from effect")
        .fetch_one(&db)
        .await
        .unwrap();
    assert_eq!(told, object);
}

#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[sqlx::test(migrations = "tests/migrations")]
async fn a_worker_says_that_it_lost_a_claim_whatever_came_of_its_step(db: PgPool) {
    let outcomes: [fn() -> Result<Outcome>; 4] = [
        || Ok(Outcome::Done),
        || Ok(Outcome::Again),
        || Ok(Outcome::wait("why", Duration::from_mins(1))),
        || Err(Error::unavailable("down")),
    ];
    for outcome in outcomes {
        let object = woken(&db).await;
        let other = worker_that(&db, || Ok(Outcome::Done));
        let steps = db.clone();
        let late = worker(&db, move |_| {
            let (db, other) = (steps.clone(), other.clone());
            Box::pin(async move {
                expire(&db).await;
                assert!(other.turn().await?);
                outcome()
            })
        });
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .finish();
        let _until_the_end = tracing::subscriber::set_default(subscriber);
        assert!(late.turn().await.unwrap());
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let told =
            |line: &str| line.contains("lost the claim") && line.contains(&object.to_string());
        assert_eq!(log.lines().filter(|line| told(line)).count(), 1, "{log}");
    }
}

#[sqlx::test(migrations = "tests/migrations")]
async fn a_step_is_dropped_once_its_claim_is_lost(db: PgPool) {
    woken(&db).await;
    let place = Arc::new(Semaphore::new(1));
    let steps = place.clone();
    let slow = worker(&db, move |_| {
        let place = steps.clone();
        Box::pin(async move {
            let _held = place.acquire().await.unwrap();
            std::future::pending().await
        })
    });
    let mut paused = JoinSet::new();
    paused.spawn(async move { slow.turn().await.unwrap() });
    eventually("the step runs", async || {
        (place.available_permits() == 0).then_some(())
    })
    .await;
    let other = worker_that(&db, || Ok(Outcome::Done));
    let claim = eventually("another claims the work", async || {
        expire(&db).await;
        other.claim().await.unwrap()
    })
    .await;
    assert!(paused.join_next().await.unwrap().unwrap());
    assert_eq!(place.available_permits(), 1);
    holds(&db, &claim).await.unwrap();
}
