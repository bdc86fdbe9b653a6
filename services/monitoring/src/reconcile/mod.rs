//! Monitoring's slow work: forgetting history that is too old, and series that
//! are sent no more; resolving incidents that do not come again.

mod custody;
mod observe;

pub use custody::Custody;
pub use observe::{Endpoints, observer};

use crate::store::{incidents, samples};
use berth_core::Result;
use berth_runtime::pg;
use berth_runtime::reconcile::{self, Outcome, Reconciler};
use chrono::TimeDelta;
use sqlx::PgPool;
use std::time::Duration;
use uuid::Uuid;

/// The one kind of work.
const SWEEP: &str = "sweep";
/// How long history is kept.
const KEPT: TimeDelta = TimeDelta::hours(6);
/// How long after its last report an incident is resolved.
const QUIET: TimeDelta = TimeDelta::minutes(15);
/// How long a resolved incident is kept.
const REMEMBERED: TimeDelta = TimeDelta::days(30);
/// How many samples one statement removes.
const BATCH: i64 = 20_000;

/// Does the sweeping.
#[must_use]
pub fn reconciler(db: PgPool) -> Reconciler {
    let steps = db.clone();
    Reconciler::new(db, 1).on(SWEEP, move |_| {
        let db = steps.clone();
        Box::pin(async move { sweep(&db).await })
    })
}

/// Sees that sweeping is scheduled.
///
/// # Errors
///
/// Those of the database.
pub async fn wake(db: &PgPool) -> Result<()> {
    let mut conn = db.acquire().await.map_err(pg::error)?;
    reconcile::wake(&mut conn, SWEEP, Uuid::nil()).await
}

async fn sweep(db: &PgPool) -> Result<Outcome> {
    let mut conn = db.acquire().await.map_err(pg::error)?;
    incidents::settle(&mut conn, berth_core::now(), QUIET, REMEMBERED).await?;
    let removed = samples::remove_before(&mut conn, berth_core::now() - KEPT, BATCH).await?;
    if removed >= BATCH.unsigned_abs() {
        return Ok(Outcome::Again);
    }
    samples::remove_unsent(&mut conn, KEPT).await?;
    Ok(Outcome::wait("swept", Duration::from_mins(1)))
}
