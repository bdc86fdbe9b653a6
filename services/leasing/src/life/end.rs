//! Ending a lease: charge it to its last second, give the machine back, close.

use super::charge::post;
use super::tell::tell;
use crate::domain::{CloseReason, Event, Lease};
use crate::store::leases;
use berth_core::{LeaseId, Result, now};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

/// Ends a lease, which the caller has locked; nothing is charged from now on.
///
/// # Errors
///
/// Those of the database.
pub(crate) async fn end(
    txn: &mut PgConnection,
    before: &Lease,
    reason: CloseReason,
    message: String,
) -> Result<()> {
    let at = now();
    let (charged, _) = post(txn, before, at).await?;
    finish(txn, before, charged, (reason, message), at).await
}

/// Saves a lease that was charged and ends.
pub(super) async fn finish(
    txn: &mut PgConnection,
    before: &Lease,
    charged: Lease,
    (reason, message): (CloseReason, String),
    at: DateTime<Utc>,
) -> Result<()> {
    let event = Event::End {
        reason,
        message,
        at,
    };
    let after = charged.apply(event, at)?;
    leases::save(txn, before, &after).await?;
    let ended = before.became(&after, TimeDelta::zero());
    tell(txn, ended.as_slice()).await
}

/// Closes a lease whose machine inventory has back.
///
/// # Errors
///
/// Those of the database.
pub(crate) async fn close(txn: &mut PgConnection, id: LeaseId) -> Result<()> {
    let before = leases::lock(txn, id).await?;
    let after = before.apply(Event::Released, now())?;
    leases::save(txn, &before, &after).await
}
