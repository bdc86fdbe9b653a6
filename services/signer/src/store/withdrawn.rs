//! Queries about rows that do not know what their owners withdrew.

use super::validators::bytes;
use crate::withdrawals::Withdrawn;
use berth_core::Result;
use berth_runtime::pg;
use sqlx::{PgConnection, PgExecutor};

/// How many validators sign, or may come to it, that were withdrawn.
///
/// # Errors
///
/// Those of the database.
pub async fn forgotten(db: impl PgExecutor<'_>, withdrawn: &Withdrawn) -> Result<i64> {
    sqlx::query_scalar(
        "select count(*) from unnest($1::bytea[], $2::bigint[]) as withdrawn (key, number)
         join validator on public_key = key and released < number
         where state in ('active', 'quarantined')",
    )
    .bind(bytes(withdrawn.keys()))
    .bind(withdrawn.values().copied().collect::<Vec<_>>())
    .fetch_one(db)
    .await
    .map_err(pg::error)
}

/// Makes them DISABLED, in a transaction that has locked all rows. Of whatever is
/// DISABLED then it is not known whether it was exported: it counts as such.
/// Returns how many did not know it.
///
/// # Errors
///
/// Those of the database.
pub async fn disable(conn: &mut PgConnection, withdrawn: &Withdrawn) -> Result<u64> {
    let disabled = sqlx::query(
        "update validator set
             state = 'disabled', version = version + 1,
             status_reason = 'its owner withdrew it after the backup that this database is of'
         from unnest($1::bytea[], $2::bigint[]) as withdrawn (key, number)
         where public_key = key and released < number and state in ('active', 'quarantined')",
    )
    .bind(bytes(withdrawn.keys()))
    .bind(withdrawn.values().copied().collect::<Vec<_>>())
    .execute(&mut *conn)
    .await
    .map_err(pg::error)?;
    sqlx::query("update validator set exported = true where state = 'disabled'")
        .execute(conn)
        .await
        .map_err(pg::error)?;
    Ok(disabled.rows_affected())
}
