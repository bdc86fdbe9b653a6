//! Writing what accounts should know, and having it sent.

use crate::domain::{Lease, NewEvent, Policy, balance_low, empty_time};
use crate::store::{events, forecast};
use berth_core::{Money, Result, now};
use berth_runtime::reconcile;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use std::collections::BTreeSet;

/// Kind of the work on webhooks.
pub(crate) const WEBHOOK: &str = "webhook";

/// Writes events, those that are there already excepted. Call it once, last,
/// in a transaction: it locks the work of webhooks in their order.
///
/// # Errors
///
/// Those of the database.
pub(crate) async fn tell(txn: &mut PgConnection, news: &[NewEvent]) -> Result<()> {
    let mut webhooks = BTreeSet::new();
    for event in news {
        let to = events::insert(txn, event, now()).await?;
        webhooks.extend(to.into_iter().map(|webhook| webhook.uuid()));
    }
    for webhook in webhooks {
        reconcile::wake(txn, WEBHOOK, webhook).await?;
    }
    Ok(())
}

/// Looks how long a balance, which the caller has locked, lasts for the leases
/// as they are stored.
pub(super) async fn look(
    txn: &mut PgConnection,
    lease: &Lease,
    balance: Money,
    policy: Policy,
    now: DateTime<Utc>,
) -> Result<Option<NewEvent>> {
    let account = lease.account_id;
    let whose = (account, balance.currency);
    let Some(warned) = forecast::begin(txn, whose, now, policy.charge_every).await? else {
        return Ok(None);
    };
    let burns = forecast::burns(txn, account, balance.currency).await?;
    let empty = empty_time(balance, &burns, now);
    let (event, warns) = balance_low(account, balance, empty, warned, (now, policy.grace));
    if warns != warned {
        forecast::keep(txn, whose, warns).await?;
    }
    Ok(event)
}
