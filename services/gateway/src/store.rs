//! What the gateway remembers. The only place in this service with SQL.

use berth_core::Result;
use berth_runtime::pg;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::audit::Entry;

/// Applied at start-up and by every test.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/accounts");

/// Writes that a call begins.
///
/// # Errors
///
/// Those of the database.
pub async fn insert(conn: &mut PgConnection, entry: &Entry) -> Result<()> {
    sqlx::query(
        "insert into audit (id, account_id, token_id, method, peer) values ($1, $2, $3, $4, $5)",
    )
    .bind(entry.id)
    .bind(entry.account_id)
    .bind(&entry.token_id)
    .bind(&entry.method)
    .bind(&entry.peer)
    .execute(conn)
    .await
    .map_err(pg::error)?;
    Ok(())
}

/// Writes what came of it.
///
/// # Errors
///
/// Those of the database.
pub async fn finish(conn: &mut PgConnection, id: Uuid, code: i32) -> Result<()> {
    sqlx::query("update audit set code = $2 where id = $1 and code is null")
        .bind(id)
        .bind(code)
        .execute(conn)
        .await
        .map_err(pg::error)?;
    Ok(())
}
