//! From PENDING to ACTIVE: hold a machine, see that it can be paid for, make
//! it the lease's own, begin.
//!
//! Inventory counts the machine as used before the lease is ACTIVE: whatever
//! happens then, nobody gets it unwiped.

use super::{WORK, end};
use crate::domain::{CloseReason, Event, Lease, State, funds};
use crate::inventory::Inventory;
use crate::store::{leases, ledger};
use berth_core::{Error, LeaseId, Result, now};
use berth_runtime::{pg, reconcile};
use sqlx::{PgConnection, PgPool};

/// What came of placing a lease.
#[derive(Debug)]
pub(crate) enum Placed {
    /// It is not PENDING any more.
    Settled,
    /// It cannot be had, and is ending.
    Refused(Error),
}

/// Places a lease. May run twice, also at the same time.
///
/// # Errors
///
/// What may pass by itself; the lease is PENDING still.
pub(crate) async fn place(db: &PgPool, inventory: &Inventory, id: LeaseId) -> Result<Placed> {
    let lease = leases::find(&mut *db.acquire().await.map_err(pg::error)?, id).await?;
    if lease.state != State::Pending {
        return Ok(Placed::Settled);
    }
    match advance(db, inventory, &lease).await {
        Ok(()) => Ok(Placed::Settled),
        Err(error) => {
            let reason = match &error {
                Error::Exhausted {
                    reason: "INSUFFICIENT_FUNDS",
                    ..
                } => CloseReason::InsufficientFunds,
                Error::Exhausted { .. }
                | Error::Invalid { .. }
                | Error::NotFound { .. }
                | Error::Precondition { .. } => CloseReason::NoCapacity,
                Error::Unauthenticated { .. }
                | Error::Forbidden { .. }
                | Error::Exists { .. }
                | Error::Conflict { .. }
                | Error::Fenced { .. }
                | Error::Unavailable(_)
                | Error::Internal(_) => return Err(error),
            };
            if refuse(db, id, reason, &error).await? {
                Ok(Placed::Refused(error))
            } else {
                Ok(Placed::Settled)
            }
        }
    }
}

async fn advance(db: &PgPool, inventory: &Inventory, lease: &Lease) -> Result<()> {
    if lease.grant.is_none() {
        let grant = inventory.reserve(lease).await?;
        let mut txn = db.begin().await.map_err(pg::error)?;
        let before = leases::lock(&mut txn, lease.id).await?;
        // Ended in the meantime: ending gives the machine back.
        if before.state != State::Pending {
            return Ok(());
        }
        let after = before.apply(Event::Granted(grant), now())?;
        can_pay(&mut txn, &after).await?;
        leases::save(&mut txn, &before, &after).await?;
        txn.commit().await.map_err(pg::error)?;
    }
    inventory.confirm(lease.id).await?;
    activate(db, lease.id).await
}

async fn activate(db: &PgPool, id: LeaseId) -> Result<()> {
    let mut txn = db.begin().await.map_err(pg::error)?;
    // From here on the reconciler charges it.
    reconcile::wake(&mut txn, WORK, id.uuid()).await?;
    let before = leases::lock(&mut txn, id).await?;
    if before.state != State::Pending {
        return Ok(());
    }
    can_pay(&mut txn, &before).await?;
    let after = before.apply(Event::Activate, now())?;
    leases::save(&mut txn, &before, &after).await?;
    txn.commit().await.map_err(pg::error)
}

async fn can_pay(txn: &mut PgConnection, lease: &Lease) -> Result<()> {
    let Some(deposit) = lease.deposit() else {
        return Ok(());
    };
    let balance = ledger::lock_balance(txn, lease.account_id, deposit.currency).await?;
    let spoken_for = leases::spoken_for(txn, lease.account_id, deposit.currency).await?;
    funds(balance, spoken_for, deposit)
}

/// Ends the lease, unless somebody else has settled it.
async fn refuse(db: &PgPool, id: LeaseId, reason: CloseReason, error: &Error) -> Result<bool> {
    let mut txn = db.begin().await.map_err(pg::error)?;
    reconcile::wake(&mut txn, WORK, id.uuid()).await?;
    let lease = leases::lock(&mut txn, id).await?;
    if lease.state != State::Pending {
        return Ok(false);
    }
    end(&mut txn, &lease, reason, error.to_string()).await?;
    leases::forget_request(&mut txn, &lease).await?;
    txn.commit().await.map_err(pg::error)?;
    Ok(true)
}
