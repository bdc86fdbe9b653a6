//! Slow work as rows, done by any replica, once at a time.
//!
//! A worker claims a row with a number that grows, holds no transaction while
//! it works, renews the claim, and writes guarded by the number: one that was
//! paused past its claim cannot write. Woken by `NOTIFY`, correct by timer.
//! A step takes an identifier and nothing else, and may run twice.
//!
//! Every service that uses it has this table:
//!
//! ```sql
//! create table work (
//!     kind          text        not null,
//!     object_id     uuid        not null,
//!     not_before    timestamptz not null default now(),
//!     attempts      integer     not null default 0,
//!     wakes         bigint      not null default 0,
//!     claimed_by    uuid,
//!     claimed_until timestamptz,
//!     claim_fence   bigint      not null default 0,
//!     outcome       text,
//!     reason        text,
//!     primary key (kind, object_id)
//! );
//! create index work_due on work (not_before);
//! -- Numbers never come back, not even when a row is made anew.
//! create sequence work_claim;
//! ```

use crate::notices::{self, Notices};
use crate::pg;
use berth_core::{Error, Result, report};
use futures::future::BoxFuture;
use sqlx::{PgConnection, PgPool};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use uuid::Uuid;

/// Channel on which new work is announced.
pub const CHANNEL: &str = "berth_work";
/// How long a claim holds without being renewed.
const CLAIM: Duration = Duration::from_secs(15);
/// How often it is renewed.
const RENEW: Duration = Duration::from_secs(4);
/// How often to look for work that no notice told of.
const LOOK: Duration = Duration::from_secs(1);
/// Longest wait after errors.
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is left to do until somebody wakes the work again.
    Done,
    /// Go on at once.
    Again,
    /// Go on later; people see why.
    Wait {
        /// Why, for people.
        reason: String,
        /// How long.
        after: Duration,
    },
}

impl Outcome {
    /// Waits with a reason.
    pub fn wait(reason: impl Into<String>, after: Duration) -> Self {
        Self::Wait {
            reason: reason.into(),
            after,
        }
    }
}

/// The right to work on one object until somebody else claims it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Kind of work.
    pub kind: String,
    /// The object.
    pub object_id: Uuid,
    /// How often the step failed in a row.
    pub attempts: i32,
    /// The claim's number.
    pub number: i64,
    wakes: i64,
}

/// Asks for work on an object, now. Call it in the transaction that makes the
/// work necessary.
///
/// # Errors
///
/// Those of the database.
pub async fn wake(conn: &mut PgConnection, kind: &str, object_id: Uuid) -> Result<()> {
    wake_after(conn, kind, object_id, Duration::ZERO).await
}

/// The same, not before a time has passed. Work that is due earlier stays so.
///
/// # Errors
///
/// Those of the database.
pub async fn wake_after(
    conn: &mut PgConnection,
    kind: &str,
    object_id: Uuid,
    after: Duration,
) -> Result<()> {
    sqlx::query(
        "insert into work (kind, object_id, not_before)
         values ($1, $2, now() + make_interval(secs => $3))
         on conflict (kind, object_id) do update
         set not_before = least(work.not_before, excluded.not_before),
             wakes = work.wakes + 1, attempts = 0",
    )
    .bind(kind)
    .bind(object_id)
    .bind(after.as_secs_f64())
    .execute(&mut *conn)
    .await
    .map_err(pg::error)?;
    sqlx::query("select pg_notify($1, $2)")
        .bind(CHANNEL)
        .bind(kind)
        .execute(conn)
        .await
        .map_err(pg::error)?;
    Ok(())
}

/// Refuses to go on when the claim is not held any more. Call it first in
/// every transaction of a step: the row stays locked until it commits.
///
/// # Errors
///
/// [`Error::Fenced`] when another worker has claimed the work since.
pub async fn guard(conn: &mut PgConnection, claim: &Claim) -> Result<()> {
    let number: Option<i64> = sqlx::query_scalar(
        "select claim_fence from work where kind = $1 and object_id = $2 for update",
    )
    .bind(&claim.kind)
    .bind(claim.object_id)
    .fetch_optional(conn)
    .await
    .map_err(pg::error)?;
    if number == Some(claim.number) {
        Ok(())
    } else {
        Err(lost(claim, number))
    }
}

/// The claim is somebody else's now, or nobody's.
fn lost(claim: &Claim, number: Option<i64>) -> Error {
    Error::Fenced {
        have: claim.number.unsigned_abs(),
        want: number.unwrap_or(0).unsigned_abs(),
    }
}

/// A step: takes the claim, does one thing, says what came of it.
pub type Step = Arc<dyn Fn(Claim) -> BoxFuture<'static, Result<Outcome>> + Send + Sync>;

/// Keeps a reason where the API can show it; see [`Reconciler::on_reason`].
pub type Reason = Arc<
    dyn for<'a> Fn(&'a mut PgConnection, &'a Claim, &'a str) -> BoxFuture<'a, Result<()>>
        + Send
        + Sync,
>;

/// Runs steps for the kinds of work that it knows.
#[derive(Clone)]
pub struct Reconciler {
    db: PgPool,
    worker: Uuid,
    steps: BTreeMap<&'static str, Step>,
    reason: Option<Reason>,
    concurrency: usize,
}

impl std::fmt::Debug for Reconciler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reconciler")
            .field("worker", &self.worker)
            .field("kinds", &self.steps.keys())
            .finish_non_exhaustive()
    }
}

impl Reconciler {
    /// A reconciler that knows no work yet and does at most `concurrency`
    /// steps at once.
    #[must_use]
    pub fn new(db: PgPool, concurrency: usize) -> Self {
        Self {
            db,
            worker: Uuid::now_v7(),
            steps: BTreeMap::new(),
            reason: None,
            concurrency,
        }
    }

    /// Does work of this kind with this step.
    #[must_use]
    pub fn on<F>(mut self, kind: &'static str, step: F) -> Self
    where
        F: Fn(Claim) -> BoxFuture<'static, Result<Outcome>> + Send + Sync + 'static,
    {
        self.steps.insert(kind, Arc::new(step));
        self
    }

    /// Called with every reason to wait and every failure, so that the object
    /// can show it, in a transaction that is guarded by the claim.
    #[must_use]
    pub fn on_reason<F>(mut self, keep: F) -> Self
    where
        F: for<'a> Fn(&'a mut PgConnection, &'a Claim, &'a str) -> BoxFuture<'a, Result<()>>
            + Send
            + Sync
            + 'static,
    {
        self.reason = Some(Arc::new(keep));
        self
    }

    /// Works until `stop`; running steps are dropped then, and taken up again
    /// by whoever claims them next.
    pub async fn run(self, notices: Notices, stop: CancellationToken) {
        let mut receiver = notices.subscribe();
        let mut running = JoinSet::new();
        // What `claimed_by` says is found in the log by this.
        tracing::info!(worker = %self.worker, "looking for work");
        loop {
            while running.try_join_next().is_some() {}
            let claimed = if running.len() < self.concurrency {
                self.claim().await
            } else {
                Ok(None)
            };
            match claimed {
                Ok(Some(claim)) => {
                    let this = self.clone();
                    running.spawn(async move { this.work(claim).await });
                    continue;
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(error = report(&error), "cannot claim work"),
            }
            tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = running.join_next(), if !running.is_empty() => {}
                () = notices::next(&mut receiver, LOOK, |kind| self.steps.contains_key(kind)) => {}
            }
        }
        running.shutdown().await;
    }

    /// Claims and does one piece of work, if any is due. For tests.
    ///
    /// # Errors
    ///
    /// Those of claiming; a step's failure is kept with the work.
    pub async fn turn(&self) -> Result<bool> {
        match self.claim().await? {
            Some(claim) => {
                self.work(claim).await;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Takes the right to work on what is due longest.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn claim(&self) -> Result<Option<Claim>> {
        let kinds: Vec<&str> = self.steps.keys().copied().collect();
        let row: Option<(String, Uuid, i32, i64, i64)> = sqlx::query_as(
            "update work set claimed_by = $1, claim_fence = nextval('work_claim'),
                             claimed_until = now() + make_interval(secs => $2)
             where (kind, object_id) = (
                 select kind, object_id from work
                 where kind = any($3) and not_before <= now()
                   and (claimed_until is null or claimed_until < now())
                 order by not_before for update skip locked limit 1)
             returning kind, object_id, attempts, claim_fence, wakes",
        )
        .bind(self.worker)
        .bind(CLAIM.as_secs_f64())
        .bind(kinds)
        .fetch_optional(&self.db)
        .await
        .map_err(pg::error)?;
        Ok(row.map(|(kind, object_id, attempts, number, wakes)| Claim {
            kind,
            object_id,
            attempts,
            number,
            wakes,
        }))
    }

    async fn work(&self, claim: Claim) {
        let Some(step) = self.steps.get(claim.kind.as_str()) else {
            return;
        };
        let span = tracing::info_span!("step", otel.name = claim.kind, object = %claim.object_id);
        let step = step(claim.clone()).instrument(span);
        let result = tokio::select! {
            result = step => result,
            () = self.hold(&claim) => Err(lost(&claim, None)),
        };
        match self.finish(&claim, result).await {
            Ok(()) => {}
            Err(Error::Fenced { .. }) => {
                tracing::info!(kind = claim.kind, object = %claim.object_id, "lost the claim");
            }
            Err(error) => {
                tracing::debug!(error = report(&error), "cannot record what came of a step");
            }
        }
    }

    /// Renews the claim; returns once it is lost.
    async fn hold(&self, claim: &Claim) {
        loop {
            tokio::time::sleep(RENEW).await;
            let renewed = sqlx::query(
                "update work set claimed_until = now() + make_interval(secs => $4)
                 where kind = $1 and object_id = $2 and claim_fence = $3",
            )
            .bind(&claim.kind)
            .bind(claim.object_id)
            .bind(claim.number)
            .bind(CLAIM.as_secs_f64())
            .execute(&self.db)
            .await;
            // With the database away the number still guards every write.
            if renewed.is_ok_and(|done| done.rows_affected() == 0) {
                return;
            }
        }
    }

    /// Keeps what came of a step; [`Error::Fenced`] when the claim was lost.
    async fn finish(&self, claim: &Claim, result: Result<Outcome>) -> Result<()> {
        let (outcome, reason, after) = match result {
            Ok(Outcome::Done) => return self.done(claim).await,
            Ok(Outcome::Again) => ("again", None, Duration::ZERO),
            Ok(Outcome::Wait { reason, after }) => ("wait", Some(reason), after),
            Err(lost @ Error::Fenced { .. }) => return Err(lost),
            Err(error) => {
                let text = report(&error);
                tracing::warn!(kind = claim.kind, object = %claim.object_id, error = text, "step failed");
                ("error", Some(text), backoff(claim.attempts))
            }
        };
        if let Some(reason) = &reason {
            self.keep_reason(claim, reason).await?;
        }
        let failed = outcome == "error";
        let kept = sqlx::query(
            "update work set outcome = $4, reason = $5,
                 not_before = case when wakes = $6
                     then now() + make_interval(secs => $7) else now() end,
                 attempts = case when $8 then attempts + 1 else 0 end,
                 claimed_by = null, claimed_until = null
             where kind = $1 and object_id = $2 and claim_fence = $3",
        )
        .bind(&claim.kind)
        .bind(claim.object_id)
        .bind(claim.number)
        .bind(outcome)
        .bind(&reason)
        .bind(claim.wakes)
        .bind(after.as_secs_f64())
        .bind(failed)
        .execute(&self.db)
        .await
        .map_err(pg::error)?
        .rows_affected();
        if kept == 0 {
            return Err(lost(claim, None));
        }
        Ok(())
    }

    async fn keep_reason(&self, claim: &Claim, reason: &str) -> Result<()> {
        let Some(keep) = &self.reason else {
            return Ok(());
        };
        let mut txn = self.db.begin().await.map_err(pg::error)?;
        let kept = match guard(&mut txn, claim).await {
            Ok(()) => keep(&mut txn, claim, reason).await,
            Err(lost) => Err(lost),
        };
        if let Err(error) = kept {
            // One that is only dropped keeps its lock a little longer.
            txn.rollback().await.map_err(pg::error)?;
            return Err(error);
        }
        txn.commit().await.map_err(pg::error)
    }

    /// Forgets the work, unless somebody woke it since it was claimed.
    async fn done(&self, claim: &Claim) -> Result<()> {
        let gone = sqlx::query(
            "delete from work
             where kind = $1 and object_id = $2 and claim_fence = $3 and wakes = $4",
        )
        .bind(&claim.kind)
        .bind(claim.object_id)
        .bind(claim.number)
        .bind(claim.wakes)
        .execute(&self.db)
        .await
        .map_err(pg::error)?
        .rows_affected();
        if gone == 0 {
            let kept = sqlx::query(
                "update work set claimed_by = null, claimed_until = null, not_before = now(),
                                 attempts = 0
                 where kind = $1 and object_id = $2 and claim_fence = $3",
            )
            .bind(&claim.kind)
            .bind(claim.object_id)
            .bind(claim.number)
            .execute(&self.db)
            .await
            .map_err(pg::error)?
            .rows_affected();
            if kept == 0 {
                return Err(lost(claim, None));
            }
        }
        Ok(())
    }
}

/// Doubles from half a second, with jitter, so that a crowd spreads out.
fn backoff(attempts: i32) -> Duration {
    let exponent = u32::try_from(attempts.clamp(0, 10)).unwrap_or(10);
    let full = Duration::from_millis(500).saturating_mul(2_u32.saturating_pow(exponent));
    let capped = full.min(MAX_BACKOFF);
    let jitter = f64::from(Uuid::now_v7().as_bytes()[15]) / 255.0;
    capped.mul_f64(0.75 + jitter / 4.0)
}
