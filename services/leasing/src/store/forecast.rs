//! Queries on how long a balance lasts.

use crate::domain::Burn;
use berth_core::{AccountId, Currency, Result};
use berth_runtime::pg;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

/// Begins a look at a balance, unless there was one not long ago; answers with
/// the span before its end for which the account was warned.
///
/// # Errors
///
/// Those of the database.
pub async fn begin(
    conn: &mut PgConnection,
    (account, currency): (AccountId, Currency),
    now: DateTime<Utc>,
    every: TimeDelta,
) -> Result<Option<Option<TimeDelta>>> {
    let warned: Option<Option<i64>> = sqlx::query_scalar(
        "update balance set forecast_time = $3
         where account_id = $1 and currency = $2
           and (forecast_time is null or forecast_time <= $4 or forecast_time > $3)
         returning warned_seconds",
    )
    .bind(account)
    .bind(currency.as_str())
    .bind(now)
    .bind(now - every)
    .fetch_optional(conn)
    .await
    .map_err(pg::error)?;
    Ok(warned.map(|warned| warned.map(TimeDelta::seconds)))
}

/// Keeps for which span before its end the account was warned.
///
/// # Errors
///
/// Those of the database.
pub async fn keep(
    conn: &mut PgConnection,
    (account, currency): (AccountId, Currency),
    warned: Option<TimeDelta>,
) -> Result<()> {
    sqlx::query("update balance set warned_seconds = $3 where account_id = $1 and currency = $2")
        .bind(account)
        .bind(currency.as_str())
        .bind(warned.map(|span| span.num_seconds()))
        .execute(conn)
        .await
        .map_err(pg::error)?;
    Ok(())
}

/// What the account's running leases still take of a balance.
///
/// # Errors
///
/// Those of the database.
pub async fn burns(
    conn: &mut PgConnection,
    account: AccountId,
    currency: Currency,
) -> Result<Vec<Burn>> {
    let rows: Vec<(i64, DateTime<Utc>, DateTime<Utc>)> = sqlx::query_as(
        "select price_micros, charged_until, expire_time from lease
         where account_id = $1 and currency = $2 and state = 'active'",
    )
    .bind(account)
    .bind(currency.as_str())
    .fetch_all(conn)
    .await
    .map_err(pg::error)?;
    Ok(rows
        .into_iter()
        .map(|(micros_per_hour, charged_until, expire_time)| Burn {
            micros_per_hour,
            charged_until,
            expire_time,
        })
        .collect())
}
