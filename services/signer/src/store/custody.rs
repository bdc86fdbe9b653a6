//! Queries on validators in quarantine, whosever they are: monitoring looks at
//! chains for all accounts.

use crate::domain::validator::State;
use crate::domain::{PublicKey, Validator};
use berth_core::{Error, Resource, Result};
use berth_runtime::page::Page;
use berth_runtime::pg;
use sqlx::PgConnection;

/// Those of a chain whose keys are in Vault, by public key.
///
/// # Errors
///
/// Those of the database, and of a page token of another list.
pub async fn quarantined(
    conn: &mut PgConnection,
    chain: &str,
    page: &Page,
) -> Result<Vec<Validator>> {
    let bad = |_| Error::invalid("page_token", "is not a `next_page_token` of this list");
    let after: Option<PublicKey> = page.after().map(str::parse).transpose().map_err(bad)?;
    sqlx::query_as(
        "select * from validator
         where chain = $1 and state = $2 and request_id is not null
           and ($3::bytea is null or public_key > $3)
         order by public_key limit $4",
    )
    .bind(chain)
    .bind(State::Quarantined)
    .bind(after.map(|key| key.0.to_vec()))
    .bind(page.limit())
    .fetch_all(conn)
    .await
    .map_err(pg::error)
}

/// A validator, locked until the transaction ends.
///
/// # Errors
///
/// [`Error::NotFound`] when there is none.
pub async fn lock(conn: &mut PgConnection, key: &PublicKey) -> Result<Validator> {
    sqlx::query_as("select * from validator where public_key = $1 for update")
        .bind(&key.0[..])
        .fetch_optional(conn)
        .await
        .map_err(pg::error)?
        .ok_or_else(|| Error::not_found(Resource::Validator, key))
}

/// Whose a validator is.
///
/// # Errors
///
/// Those of the database.
pub async fn account(conn: &mut PgConnection, key: &PublicKey) -> Result<berth_core::AccountId> {
    sqlx::query_scalar("select account_id from validator where public_key = $1")
        .bind(&key.0[..])
        .fetch_one(conn)
        .await
        .map_err(pg::error)
}
