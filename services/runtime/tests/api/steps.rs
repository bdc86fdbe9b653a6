//! What comes of a step: done, again, later with a reason, or an error.

use crate::eventually::eventually;
use crate::worker::{KIND, make_due, row, wake, woken, worker, worker_that};
use berth_core::Error;
use berth_runtime::notices::Notices;
use berth_runtime::reconcile::{self, Outcome, Reconciler};
use sqlx::PgPool;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const HOUR: Duration = Duration::from_secs(3600);

#[sqlx::test(migrations = "tests/migrations")]
async fn a_wake_during_a_step_is_not_lost_whatever_comes_of_it(db: PgPool) {
    let outcomes = [
        || Ok(Outcome::Done),
        || Ok(Outcome::wait("an hour", HOUR)),
        || Err(Error::internal("broken")),
    ];
    for outcome in outcomes {
        let object = woken(&db).await;
        let others = db.clone();
        let woken_meanwhile = worker(&db, move |_| {
            let db = others.clone();
            Box::pin(async move {
                wake(&db, object).await;
                outcome()
            })
        });
        assert!(woken_meanwhile.turn().await.unwrap());
        let left = row(&db).await.unwrap();
        assert!(left.due <= 0.0 && !left.claimed, "{left:?}");
        // Without a wake it is over.
        assert!(worker_that(&db, || Ok(Outcome::Done)).turn().await.unwrap());
        assert!(row(&db).await.is_none());
    }
}

#[sqlx::test(migrations = "tests/migrations")]
async fn work_that_goes_on_is_due_at_once(db: PgPool) {
    woken(&db).await;
    let worker = worker_that(&db, || Ok(Outcome::Again));
    for _ in 0..3 {
        assert!(worker.turn().await.unwrap());
    }
    let row = row(&db).await.unwrap();
    assert_eq!(row.outcome.as_deref(), Some("again"));
}

#[sqlx::test(migrations = "tests/migrations")]
async fn errors_are_tried_again_after_longer_and_longer_waits(db: PgPool) {
    let object = woken(&db).await;
    let worker = worker_that(&db, || Err(Error::internal("no route to host")));
    for attempt in 1..=8 {
        make_due(&db).await;
        assert!(worker.turn().await.unwrap());
        let row = row(&db).await.unwrap();
        assert_eq!(row.attempts, attempt);
        assert_eq!(row.outcome.as_deref(), Some("error"));
        let reason = row.reason.unwrap();
        assert_eq!(reason, "internal error: no route to host");
        let most = (0.5 * 2_f64.powi(attempt - 1)).min(30.0);
        assert!(row.due <= most, "{attempt}: {} s", row.due);
    }
    // By now it is half a minute, less a quarter of jitter.
    assert!(row(&db).await.unwrap().due > 10.0);
    assert!(!worker.turn().await.unwrap());
    // Whoever wakes it does not wait.
    wake(&db, object).await;
    let row = row(&db).await.unwrap();
    assert!(row.attempts == 0 && row.due <= 0.0, "{row:?}");
}

#[sqlx::test(migrations = "tests/migrations")]
async fn the_reason_to_wait_is_kept_with_the_work_and_told(db: PgPool) {
    let object = woken(&db).await;
    let (sender, mut told) = mpsc::unbounded_channel();
    let telling = |worker: Reconciler| {
        let sender = sender.clone();
        worker.on_reason(move |_, claim, reason| {
            sender.send((claim.object_id, reason.to_owned())).unwrap();
            Box::pin(async { Ok(()) })
        })
    };
    let waiting = telling(worker_that(&db, || {
        Ok(Outcome::wait("the machine is being wiped", HOUR))
    }));
    assert!(waiting.turn().await.unwrap());
    let kept = row(&db).await.unwrap();
    assert_eq!(kept.outcome.as_deref(), Some("wait"));
    assert_eq!(kept.reason.as_deref(), Some("the machine is being wiped"));
    assert!(kept.due > 3500.0 && kept.attempts == 0, "{kept:?}");
    assert_eq!(
        told.try_recv().unwrap(),
        (object, "the machine is being wiped".to_owned())
    );

    make_due(&db).await;
    let failing = telling(worker_that(&db, || Err(Error::internal("broken"))));
    assert!(failing.turn().await.unwrap());
    assert_eq!(told.try_recv().unwrap().1, "internal error: broken");

    make_due(&db).await;
    let done = telling(worker_that(&db, || Ok(Outcome::Done)));
    assert!(done.turn().await.unwrap());
    assert!(told.try_recv().is_err());
}

#[sqlx::test(migrations = "tests/migrations")]
async fn work_for_later_is_not_due_and_a_wake_makes_it_so(db: PgPool) {
    let object = woken(&db).await;
    let worker = worker_that(&db, || Ok(Outcome::wait("later", HOUR)));
    assert!(worker.turn().await.unwrap());
    let mut conn = db.acquire().await.unwrap();
    // Not before two hours: what was due in one stays so.
    reconcile::wake_after(&mut conn, KIND, object, 2 * HOUR)
        .await
        .unwrap();
    drop(conn);
    assert!(row(&db).await.unwrap().due < 3700.0);
    assert!(!worker.turn().await.unwrap());
    wake(&db, object).await;
    assert!(worker.turn().await.unwrap());
}

#[sqlx::test(migrations = "tests/migrations")]
async fn other_kinds_of_work_are_left_alone(db: PgPool) {
    woken(&db).await;
    let other =
        Reconciler::new(db.clone(), 1).on("another", |_| Box::pin(async { panic!("mine") }));
    assert!(!other.turn().await.unwrap());
}

#[sqlx::test(migrations = "tests/migrations")]
async fn a_running_reconciler_does_so_many_steps_at_once_and_ends_when_told(db: PgPool) {
    let stop = CancellationToken::new();
    let (notices, listen) = Notices::listen(db.clone(), &[reconcile::CHANNEL], stop.clone());
    let (begun, go_on) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (tell, wait) = (begun.clone(), go_on.clone());
    let two_at_once = worker(&db, move |_| {
        let (tell, wait) = (tell.clone(), wait.clone());
        Box::pin(async move {
            tell.add_permits(1);
            wait.acquire().await.unwrap().forget();
            Ok(Outcome::Done)
        })
    });
    let mut tasks = JoinSet::new();
    tasks.spawn(listen);
    tasks.spawn(two_at_once.run(notices, stop.clone()));
    for _ in 0..5 {
        woken(&db).await;
    }
    for done in 0..5 {
        let running = (5 - done).min(2);
        eventually("the next steps run", async || {
            (begun.available_permits() == done + running).then_some(())
        })
        .await;
        go_on.add_permits(1);
    }
    eventually("all is done", async || {
        row(&db).await.is_none().then_some(())
    })
    .await;

    // One that never ends is dropped at the end, and its work stays.
    woken(&db).await;
    eventually("the last step runs", async || {
        (begun.available_permits() == 6).then_some(())
    })
    .await;
    stop.cancel();
    tasks.join_all().await;
    assert!(row(&db).await.unwrap().claimed);
}
