//! Queries on `lease`.

use super::row::Row;
use crate::domain::{Lease, NewLease, State, Wish};
use berth_core::{AccountId, Currency, Error, LeaseId, Resource, Result};
use berth_runtime::page::Page;
use berth_runtime::pg;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::types::Json;

/// Stores a lease that waits for a machine.
///
/// # Errors
///
/// Those of the database.
pub async fn insert(
    conn: &mut PgConnection,
    new: &NewLease,
    now: DateTime<Utc>,
) -> Result<LeaseId> {
    let id = LeaseId::generate();
    let (offer, requirements, max_price) = match &new.wish {
        Wish::Offer(offer) => (Some(*offer), None, None),
        Wish::Cheapest {
            requirements,
            max_price,
        } => (None, Some(Json(requirements)), Some(*max_price)),
    };
    sqlx::query(
        "insert into lease (id, account_id, wanted_offer, requirements, max_currency, max_micros,
                            term_seconds, display_name, state, create_time)
         values ($1, $2, $3, $4, $5, $6, $7, $8, 'pending', $9)",
    )
    .bind(id)
    .bind(new.account_id)
    .bind(offer)
    .bind(requirements)
    .bind(max_price.map(|price| price.currency.to_string()))
    .bind(max_price.map(|price| price.micros))
    .bind(new.term.num_seconds())
    .bind(&new.display_name)
    .bind(now)
    .execute(conn)
    .await
    .map_err(pg::error)?;
    Ok(id)
}

/// Finds a lease of the account.
///
/// # Errors
///
/// [`Error::NotFound`] also when it belongs to another account.
pub async fn get(conn: &mut PgConnection, account: AccountId, id: LeaseId) -> Result<Lease> {
    let row: Option<Row> = sqlx::query_as("select * from lease where id = $1 and account_id = $2")
        .bind(id)
        .bind(account)
        .fetch_optional(conn)
        .await
        .map_err(pg::error)?;
    row.ok_or_else(|| Error::not_found(Resource::Lease, id))?
        .lease()
}

/// Finds any lease, for the reconciler.
///
/// # Errors
///
/// [`Error::NotFound`] when there is none.
pub async fn find(conn: &mut PgConnection, id: LeaseId) -> Result<Lease> {
    let row: Option<Row> = sqlx::query_as("select * from lease where id = $1")
        .bind(id)
        .fetch_optional(conn)
        .await
        .map_err(pg::error)?;
    row.ok_or_else(|| Error::not_found(Resource::Lease, id))?
        .lease()
}

/// The same, locked until the transaction ends.
///
/// # Errors
///
/// [`Error::NotFound`] when there is none.
pub async fn lock(conn: &mut PgConnection, id: LeaseId) -> Result<Lease> {
    let row: Option<Row> = sqlx::query_as("select * from lease where id = $1 for update")
        .bind(id)
        .fetch_optional(conn)
        .await
        .map_err(pg::error)?;
    row.ok_or_else(|| Error::not_found(Resource::Lease, id))?
        .lease()
}

/// Leases of the account, newest first.
///
/// # Errors
///
/// Those of the database, and of a page token of another list.
pub async fn list(
    conn: &mut PgConnection,
    account: AccountId,
    state: Option<State>,
    page: &Page,
) -> Result<Vec<Lease>> {
    let rows: Vec<Row> = sqlx::query_as(
        "select * from lease
         where account_id = $1 and ($2::text is null or state = $2)
           and ($3::uuid is null or id < $3)
         order by id desc limit $4",
    )
    .bind(account)
    .bind(state)
    .bind(page.after_uuid()?)
    .bind(page.limit())
    .fetch_all(conn)
    .await
    .map_err(pg::error)?;
    rows.into_iter().map(Row::lease).collect()
}

/// Writes what became of a lease, unless it changed since it was read.
///
/// # Errors
///
/// [`Error::Conflict`] when it changed, [`Error::Unavailable`] while the
/// machine's last lease is not quite over.
pub async fn save(conn: &mut PgConnection, before: &Lease, after: &Lease) -> Result<()> {
    if before == after {
        return Ok(());
    }
    // Charging goes on all the time; it must not make everybody's etag stale.
    let charged = Lease {
        cost_micros: after.cost_micros,
        charged_until: after.charged_until,
        ..before.clone()
    };
    let grant = after.grant;
    let saved = sqlx::query(
        "update lease set
             state = $3, status_reason = $4, close_reason = $5, machine_id = $6, offer_id = $7,
             currency = $8, price_micros = $9, max_seconds = $10, start_time = $11,
             expire_time = $12, end_time = $13, charged_until = $14, cost_micros = $15,
             deposit_micros = $16, unpaid_since = $17, version = version + $18
         where id = $1 and version = $2",
    )
    .bind(after.id)
    .bind(before.version)
    .bind(after.state)
    .bind(&after.status_reason)
    .bind(after.close_reason)
    .bind(grant.map(|grant| grant.machine_id))
    .bind(grant.map(|grant| grant.offer_id))
    .bind(grant.map(|grant| grant.price.currency.to_string()))
    .bind(grant.map(|grant| grant.price.micros))
    .bind(
        grant
            .and_then(|grant| grant.max_term)
            .map(|term| term.num_seconds()),
    )
    .bind(after.start_time)
    .bind(after.expire_time)
    .bind(after.end_time)
    .bind(after.charged_until)
    .bind(after.cost_micros)
    .bind(after.deposit().map_or(0, |deposit| deposit.micros))
    .bind(after.unpaid_since)
    .bind(i64::from(charged != *after))
    .execute(conn)
    .await
    .map_err(|error| {
        if pg::violates(&error, "lease_machine_busy") {
            Error::unavailable("the machine's last lease is not closed yet")
        } else {
            pg::error(error)
        }
    })?;
    if saved.rows_affected() == 1 {
        Ok(())
    } else {
        Err(Error::Conflict {
            resource: Resource::Lease,
        })
    }
}

/// Shows why a lease still waits for a machine.
///
/// # Errors
///
/// Those of the database.
pub async fn set_reason(conn: &mut PgConnection, id: LeaseId, reason: &str) -> Result<()> {
    sqlx::query("update lease set status_reason = $2 where id = $1 and state = 'pending'")
        .bind(id)
        .bind(reason)
        .execute(conn)
        .await
        .map_err(pg::error)?;
    Ok(())
}

/// What the account's running leases may still take in their first hours.
///
/// # Errors
///
/// Those of the database.
pub async fn spoken_for(
    conn: &mut PgConnection,
    account: AccountId,
    currency: Currency,
) -> Result<i64> {
    sqlx::query_scalar(
        "select coalesce(sum(greatest(deposit_micros - cost_micros, 0)), 0)::bigint from lease
         where account_id = $1 and currency = $2 and state = 'active'",
    )
    .bind(account)
    .bind(currency.as_str())
    .fetch_one(conn)
    .await
    .map_err(pg::error)
}

/// Forgets the request that made a lease: a refused one leaves no answer, so
/// the same request may succeed later.
///
/// # Errors
///
/// Those of the database.
pub async fn forget_request(conn: &mut PgConnection, lease: &Lease) -> Result<()> {
    sqlx::query("delete from request where account_id = $1 and resource_id = $2")
        .bind(lease.account_id)
        .bind(lease.id.to_string())
        .execute(conn)
        .await
        .map_err(pg::error)?;
    Ok(())
}
