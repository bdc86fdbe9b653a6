//! Work that is there once, however often it is asked for. Waking is
//! `berth_runtime::reconcile`'s.

use berth_core::Result;
use berth_runtime::pg;
use sqlx::PgConnection;
use uuid::Uuid;

/// Makes work unless it is there; what waits goes on waiting.
///
/// # Errors
///
/// Those of the database.
pub async fn ensure(conn: &mut PgConnection, kind: &str, object_id: Uuid) -> Result<()> {
    sqlx::query("insert into work (kind, object_id) values ($1, $2) on conflict do nothing")
        .bind(kind)
        .bind(object_id)
        .execute(conn)
        .await
        .map_err(pg::error)?;
    Ok(())
}
