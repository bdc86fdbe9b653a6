//! What leases need without anybody asking: a machine, charging, an end.
//!
//! One kind of work; what a step does follows from the lease's state alone.

use crate::domain::{Policy, State};
use crate::inventory::Inventory;
use crate::life::{self, Placed, WORK};
use crate::store::leases;
use berth_core::{Error, LeaseId, Result};
use berth_runtime::pg;
use berth_runtime::reconcile::{self, Claim, Outcome, Reconciler};
use chrono::TimeDelta;
use sqlx::PgPool;
use std::time::Duration;

/// Most leases that one replica works on at once.
const CONCURRENCY: usize = 16;
/// How long to wait for another service that does not answer.
const DEPENDENCY: Duration = Duration::from_secs(2);

/// What a step needs.
#[derive(Debug, Clone)]
struct Desk {
    db: PgPool,
    inventory: Inventory,
    policy: Policy,
}

/// A reconciler for leases.
#[must_use]
pub fn reconciler(db: PgPool, inventory: Inventory, policy: Policy) -> Reconciler {
    let desk = Desk {
        db: db.clone(),
        inventory,
        policy,
    };
    Reconciler::new(db, CONCURRENCY)
        .on(WORK, move |claim| {
            let desk = desk.clone();
            Box::pin(async move { step(&desk, claim).await })
        })
        .on_reason(|conn, claim, reason| {
            Box::pin(leases::set_reason(conn, claim.object_id.into(), reason))
        })
}

async fn step(desk: &Desk, claim: Claim) -> Result<Outcome> {
    let id: LeaseId = claim.object_id.into();
    let lease = leases::find(&mut *desk.db.acquire().await.map_err(pg::error)?, id).await?;
    match lease.state {
        State::Pending => place(desk, id).await,
        State::Active => charge(desk, &claim).await,
        State::Ending => release(desk, &claim).await,
        State::Closed => Ok(Outcome::Done),
    }
}

async fn place(desk: &Desk, id: LeaseId) -> Result<Outcome> {
    match life::place(&desk.db, &desk.inventory, id).await {
        Ok(Placed::Settled | Placed::Refused(_)) => Ok(Outcome::Again),
        Err(error) => wait("waiting for inventory to hold a machine", error),
    }
}

async fn charge(desk: &Desk, claim: &Claim) -> Result<Outcome> {
    let mut txn = desk.db.begin().await.map_err(pg::error)?;
    reconcile::guard(&mut txn, claim).await?;
    let lease = leases::lock(&mut txn, claim.object_id.into()).await?;
    let again = life::charge(&mut txn, &lease, desk.policy).await?;
    txn.commit().await.map_err(pg::error)?;
    Ok(match again {
        Some(again) => Outcome::wait(
            "until the next charge",
            again.max(TimeDelta::zero()).to_std().unwrap_or_default(),
        ),
        None => Outcome::Again,
    })
}

async fn release(desk: &Desk, claim: &Claim) -> Result<Outcome> {
    let id: LeaseId = claim.object_id.into();
    match desk.inventory.release(id).await {
        Ok(true) => {}
        Ok(false) => {
            return Ok(Outcome::wait(
                "waiting for inventory to take the machine back",
                DEPENDENCY,
            ));
        }
        Err(error) => return wait("waiting for inventory to take the machine back", error),
    }
    let mut txn = desk.db.begin().await.map_err(pg::error)?;
    reconcile::guard(&mut txn, claim).await?;
    life::close(&mut txn, id).await?;
    txn.commit().await.map_err(pg::error)?;
    Ok(Outcome::Done)
}

/// Waits out what passes by itself, without showing its cause to the account.
fn wait(reason: &str, error: Error) -> Result<Outcome> {
    if error.is_transient() {
        tracing::info!(error = berth_core::report(&error), reason);
        Ok(Outcome::wait(reason, DEPENDENCY))
    } else {
        Err(error)
    }
}
