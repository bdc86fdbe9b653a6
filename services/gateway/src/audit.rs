//! The audit log: one row for every call that changes something.

use crate::store;
use berth_core::{AccountId, Result, report};
use berth_runtime::pg;
use sqlx::PgPool;
use uuid::Uuid;

/// A call that changes something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Orders the rows.
    pub id: Uuid,
    /// For whom.
    pub account_id: AccountId,
    /// By which token.
    pub token_id: String,
    /// Path of the method.
    pub method: String,
    /// Address that it came from.
    pub peer: String,
}

/// Writes that a call begins; it is passed on only when this succeeded.
///
/// # Errors
///
/// Those of the database.
pub async fn begin(db: &PgPool, entry: &Entry) -> Result<()> {
    let mut conn = db.acquire().await.map_err(pg::error)?;
    store::insert(&mut conn, entry).await
}

/// Writes what came of it. The answer does not wait for trouble here: the row
/// that the call began stays.
pub async fn finish(db: &PgPool, id: Uuid, code: i32) {
    let written = async {
        let mut conn = db.acquire().await.map_err(pg::error)?;
        store::finish(&mut conn, id, code).await
    };
    if let Err(error) = written.await {
        tracing::warn!(error = report(&error), audit = %id, "cannot complete an audit row");
    }
}
