//! The SSH authority that the machines of this database trust.

use berth_core::Result;
use berth_runtime::pg;
use sqlx::PgConnection;

/// Keeps an authority unless one is known; the one that is known then.
///
/// # Errors
///
/// Those of the database.
pub async fn keep(conn: &mut PgConnection, public_key: &str) -> Result<String> {
    sqlx::query("insert into authority (public_key) values ($1) on conflict do nothing")
        .bind(public_key)
        .execute(&mut *conn)
        .await
        .map_err(pg::error)?;
    sqlx::query_scalar("select public_key from authority")
        .fetch_one(conn)
        .await
        .map_err(pg::error)
}
