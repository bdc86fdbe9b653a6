//! Queries on `validator`, as its owner sees it.

use super::decide::watermarks;
use crate::domain::{Address, PublicKey, Validator};
use berth_core::{AccountId, Error, NodeId, Resource, Result};
use berth_runtime::page::Page;
use berth_runtime::pg;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, Row as _};
use uuid::Uuid;

/// Finds a validator of the account.
///
/// # Errors
///
/// [`Error::NotFound`] also when it belongs to another account.
pub async fn get(
    conn: &mut PgConnection,
    account: AccountId,
    key: &PublicKey,
) -> Result<Validator> {
    sqlx::query_as("select * from validator where public_key = $1 and account_id = $2")
        .bind(&key.0[..])
        .bind(account)
        .fetch_optional(conn)
        .await
        .map_err(pg::error)?
        .ok_or_else(|| Error::not_found(Resource::Validator, key))
}

/// The same, locked until the transaction ends.
///
/// # Errors
///
/// [`Error::NotFound`] also when it belongs to another account.
pub async fn lock(
    conn: &mut PgConnection,
    account: AccountId,
    key: &PublicKey,
) -> Result<Validator> {
    sqlx::query_as("select * from validator where public_key = $1 and account_id = $2 for update")
        .bind(&key.0[..])
        .bind(account)
        .fetch_optional(conn)
        .await
        .map_err(pg::error)?
        .ok_or_else(|| Error::not_found(Resource::Validator, key))
}

/// Validators of the account, or of one of its nodes, by public key.
///
/// # Errors
///
/// Those of the database, and of a page token of another list.
pub async fn list(
    conn: &mut PgConnection,
    account: AccountId,
    node: Option<NodeId>,
    page: &Page,
) -> Result<Vec<Validator>> {
    let bad = |_| Error::invalid("page_token", "is not a `next_page_token` of this list");
    let after: Option<PublicKey> = page.after().map(str::parse).transpose().map_err(bad)?;
    sqlx::query_as(
        "select * from validator
         where account_id = $1 and ($2::uuid is null or node_id = $2)
           and ($3::bytea is null or public_key > $3)
         order by public_key limit $4",
    )
    .bind(account)
    .bind(node)
    .bind(after.map(|key| key.0.to_vec()))
    .bind(page.limit())
    .fetch_all(conn)
    .await
    .map_err(pg::error)
}

/// All validators of the account whose keys a request brought, by public key.
///
/// # Errors
///
/// Those of the database.
pub async fn of_request(
    conn: &mut PgConnection,
    account: AccountId,
    request_id: Uuid,
) -> Result<Vec<Validator>> {
    sqlx::query_as(
        "select * from validator where account_id = $1 and request_id = $2 order by public_key",
    )
    .bind(account)
    .bind(request_id)
    .fetch_all(conn)
    .await
    .map_err(pg::error)
}

/// All validators of the account on a chain that sign no more.
///
/// # Errors
///
/// Those of the database.
pub async fn silent(
    conn: &mut PgConnection,
    account: AccountId,
    chain: &str,
) -> Result<Vec<Validator>> {
    sqlx::query_as(
        "select * from validator
         where account_id = $1 and chain = $2 and state in ('disabled', 'removed')
         order by public_key",
    )
    .bind(account)
    .bind(chain)
    .fetch_all(conn)
    .await
    .map_err(pg::error)
}

/// Notes that what these signed is given away, unless one of them changed since
/// it was read. Each counts that as one more withdrawal, once until it is
/// enabled or imported again; returns their numbers.
///
/// # Errors
///
/// [`Error::Conflict`] when one changed.
pub async fn mark_exported(
    conn: &mut PgConnection,
    read: &[Validator],
) -> Result<Vec<(PublicKey, i64)>> {
    let marked = sqlx::query(
        "with held as (
             select public_key from validator
             join unnest($1::bytea[], $2::bigint[]) as read (key, as_of)
               on public_key = key and version = as_of
             order by public_key for update of validator
         )
         update validator set
             exported = true,
             noted = case when exported and noted > released + 1 then noted
                          else greatest(noted, released + 1) + 1 end
         from held where validator.public_key = held.public_key
         returning validator.public_key, noted",
    )
    .bind(bytes(read.iter().map(|one| &one.public_key)))
    .bind(read.iter().map(|one| one.version).collect::<Vec<_>>())
    .fetch_all(conn)
    .await
    .map_err(pg::error)?;
    if marked.len() == read.len() {
        let numbers = marked.iter();
        let numbers = numbers.map(|row| Ok((public_key(row)?, row.try_get("noted")?)));
        numbers.collect::<sqlx::Result<_>>().map_err(pg::error)
    } else {
        Err(Error::Conflict {
            resource: Resource::Validator,
        })
    }
}

/// Finds the validator of a key, locked; where there is none yet, makes one
/// that signs nothing. `None` when another account has it.
///
/// # Errors
///
/// Those of the database.
pub async fn open(
    conn: &mut PgConnection,
    account: AccountId,
    chain: &str,
    key: &PublicKey,
) -> Result<Option<Validator>> {
    sqlx::query(
        "insert into validator (public_key, account_id, chain, state, status_reason)
         values ($1, $2, $3, 'quarantined', 'its key is not in Vault yet; import it again')
         on conflict do nothing",
    )
    .bind(&key.0[..])
    .bind(account)
    .bind(chain)
    .execute(&mut *conn)
    .await
    .map_err(pg::error)?;
    match lock(conn, account, key).await {
        Ok(validator) => Ok(Some(validator)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes what its owner changed, unless somebody else changed it since it was
/// read.
///
/// # Errors
///
/// [`Error::Conflict`] when it changed.
pub async fn save(conn: &mut PgConnection, before: &Validator, after: &Validator) -> Result<()> {
    if before == after {
        return Ok(());
    }
    let saved = sqlx::query(
        "update validator set
             state = $3, status_reason = $4, fee_recipient = $5, gas_limit = $6, request_id = $7,
             released = $8, exported = $9, noted = $10, active_epoch = $11, quarantine_time = $12,
             version = version + 1
         where public_key = $1 and version = $2",
    )
    .bind(&after.public_key.0[..])
    .bind(before.version)
    .bind(after.state)
    .bind(&after.status_reason)
    .bind(after.fee_recipient.map(|address| address.0.to_vec()))
    .bind(i64::try_from(after.gas_limit).map_err(Error::internal)?)
    .bind(after.request_id)
    .bind(after.released)
    .bind(after.exported)
    .bind(after.noted)
    .bind(
        after
            .active_epoch
            .map(|epoch| i64::try_from(epoch).unwrap_or(i64::MAX)),
    )
    .bind(after.quarantine_time)
    .execute(conn)
    .await
    .map_err(pg::error)?;
    if saved.rows_affected() == 1 {
        Ok(())
    } else {
        Err(Error::Conflict {
            resource: Resource::Validator,
        })
    }
}

impl FromRow<'_, PgRow> for Validator {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let fee_recipient: Option<&[u8]> = row.try_get("fee_recipient")?;
        Ok(Self {
            public_key: public_key(row)?,
            chain: row.try_get("chain")?,
            state: row.try_get("state")?,
            status_reason: row.try_get("status_reason")?,
            node_id: row.try_get("node_id")?,
            fence: row.try_get("fence")?,
            granted: row.try_get("granted")?,
            fee_recipient: fee_recipient
                .map(Address::try_from)
                .transpose()
                .map_err(|problem| sqlx::Error::Decode(problem.into()))?,
            gas_limit: row.try_get::<i64, _>("gas_limit")?.unsigned_abs(),
            watermarks: watermarks(row)?,
            request_id: row.try_get("request_id")?,
            released: row.try_get("released")?,
            exported: row.try_get("exported")?,
            noted: row.try_get("noted")?,
            active_epoch: row
                .try_get::<Option<i64>, _>("active_epoch")?
                .map(i64::unsigned_abs),
            quarantine_time: row.try_get("quarantine_time")?,
            version: row.try_get("version")?,
            create_time: row.try_get("create_time")?,
        })
    }
}

/// The key of a row.
pub(super) fn public_key(row: &PgRow) -> sqlx::Result<PublicKey> {
    PublicKey::try_from(row.try_get::<&[u8], _>("public_key")?)
        .map_err(|problem| sqlx::Error::Decode(problem.into()))
}

/// Keys as the database takes them.
pub(super) fn bytes<'a>(keys: impl IntoIterator<Item = &'a PublicKey>) -> Vec<Vec<u8>> {
    keys.into_iter().map(|key| key.0.to_vec()).collect()
}
