//! Charging an active lease for the time that has passed, and looking whether
//! it goes on and what its account should know.

use super::{end, tell};
use crate::domain::{Kind, Lease, Policy, Review, Transfer};
use crate::store::{leases, ledger};
use berth_core::{Money, Result, now};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

/// Charges a lease, which the caller has locked; says when to look again, or
/// nothing once it is not active.
///
/// # Errors
///
/// Those of the database.
pub(crate) async fn charge(
    txn: &mut PgConnection,
    before: &Lease,
    policy: Policy,
) -> Result<Option<TimeDelta>> {
    let now = now();
    let Some(grant) = before.grant else {
        return Ok(None);
    };
    let (charged, balance) = post(txn, before, now).await?;
    let balance = match balance {
        Some(balance) => balance,
        None => ledger::lock_balance(txn, before.account_id, grant.price.currency).await?,
    };
    match charged.review(balance, policy, now) {
        None => Ok(None),
        Some(Review::Goes {
            unpaid_since,
            notice,
            again,
        }) => {
            let after = Lease {
                unpaid_since,
                status_reason: notice,
                ..charged
            };
            leases::save(txn, before, &after).await?;
            let mut news: Vec<_> = tell::look(txn, &after, balance, policy, now)
                .await?
                .into_iter()
                .collect();
            news.extend(before.became(&after, policy.grace));
            news.extend(after.ends_soon(now));
            tell::tell(txn, &news).await?;
            Ok(Some(
                after.until_told(now).map_or(again, |told| again.min(told)),
            ))
        }
        Some(Review::Ends { reason, message }) => {
            end::finish(txn, before, charged, (reason, message), now).await?;
            Ok(None)
        }
    }
}

/// Writes what is still to be charged up to a time; answers with the lease as
/// it is then, to be saved, and with the balance if money moved.
pub(super) async fn post(
    txn: &mut PgConnection,
    lease: &Lease,
    until: DateTime<Utc>,
) -> Result<(Lease, Option<Money>)> {
    let Some(charge) = lease.charge(until) else {
        return Ok((lease.clone(), None));
    };
    let transfer = Transfer {
        account_id: lease.account_id,
        kind: Kind::Charge,
        amount: Money::new(charge.amount.currency, -charge.amount.micros),
        lease_id: Some(lease.id),
        memo: String::new(),
    };
    let entry = ledger::post(txn, &transfer, now()).await?;
    Ok((lease.charged(charge), Some(entry.balance)))
}
