//! Which Vault this database belongs with.

use berth_core::Result;
use berth_runtime::pg;
use sqlx::PgConnection;
use uuid::Uuid;

/// Keeps the id of a Vault unless one is known; the one that is known then.
///
/// # Errors
///
/// Those of the database.
pub async fn keep(conn: &mut PgConnection, id: Uuid) -> Result<Uuid> {
    sqlx::query("insert into vault (id) values ($1) on conflict do nothing")
        .bind(id)
        .execute(&mut *conn)
        .await
        .map_err(pg::error)?;
    sqlx::query_scalar("select id from vault")
        .fetch_one(conn)
        .await
        .map_err(pg::error)
}
