//! What was signed or imported, for interchange. Nobody asks this for
//! permission: the watermarks stand in the row that decides.

use super::validators::{bytes, public_key};
use crate::domain::interchange::Signed;
use crate::domain::{PublicKey, Root, Watermarks};
use berth_core::{AccountId, Result};
use berth_runtime::pg;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Postgres, Row as _, Transaction};
use std::collections::BTreeMap;

/// Raises watermarks of the account's validators of a chain to those that are
/// imported; lowers none. The roots that are imported are not kept. What has a
/// vote above all that is known here tells what was signed since an export.
/// Returns how many validators it found.
///
/// # Errors
///
/// Those of the database.
pub async fn raise(
    conn: &mut PgConnection,
    account: AccountId,
    chain: &str,
    imported: &BTreeMap<PublicKey, Watermarks>,
) -> Result<u64> {
    let column = |of: fn(&Watermarks) -> Option<u64>| {
        let numbers = imported.values().map(of);
        let numbers = numbers.map(|n| n.map(|n| i64::try_from(n).unwrap_or(i64::MAX)));
        numbers.collect::<Vec<_>>()
    };
    let raised = sqlx::query(
        "with held as (
             select validator.public_key, claim.slot, claim.source, claim.target
             from unnest($3::bytea[], $4::bigint[], $5::bigint[], $6::bigint[])
                  as claim (key, slot, source, target)
             join validator on validator.public_key = claim.key
             where validator.account_id = $1 and validator.chain = $2
             order by validator.public_key for update of validator
         )
         update validator set
             block_slot = greatest(block_slot, slot),
             block_root = case when slot >= block_slot then null else block_root end,
             source_epoch = greatest(source_epoch, source),
             target_epoch = greatest(target_epoch, target),
             attestation_root = case when source > source_epoch or target >= target_epoch
                                     then null else attestation_root end,
             exported = exported and not coalesce(target > coalesce(target_epoch, -1), false)
         from held where validator.public_key = held.public_key",
    )
    .bind(account)
    .bind(chain)
    .bind(bytes(imported.keys()))
    .bind(column(|known| known.block))
    .bind(column(|known| known.vote.map(|vote| vote.0)))
    .bind(column(|known| known.vote.map(|vote| vote.1)))
    .execute(conn)
    .await
    .map_err(pg::error)?;
    Ok(raised.rows_affected())
}

/// A transaction that sees all at one moment, and changes nothing.
///
/// # Errors
///
/// Those of the database.
pub async fn picture(db: &PgPool) -> Result<Transaction<'static, Postgres>> {
    db.begin_with("begin isolation level repeatable read, read only")
        .await
        .map_err(pg::error)
}

/// The newest signatures of keys, at most so many of each, in order.
///
/// # Errors
///
/// Those of the database.
pub async fn signed<'a>(
    conn: &mut PgConnection,
    keys: impl IntoIterator<Item = &'a PublicKey>,
    each: usize,
) -> Result<BTreeMap<PublicKey, Signed>> {
    let rows = sqlx::query(
        "select newest.* from unnest($1::bytea[]) as wanted (key)
         cross join lateral (
             select public_key, id, slot, source_epoch, target_epoch, signing_root
             from signature where public_key = wanted.key order by id desc limit $2
         ) newest
         order by newest.public_key, newest.id",
    )
    .bind(bytes(keys))
    .bind(i64::try_from(each).unwrap_or(i64::MAX))
    .fetch_all(conn)
    .await
    .map_err(pg::error)?;
    let mut all = BTreeMap::new();
    for row in &rows {
        add(&mut all, row).map_err(pg::error)?;
    }
    Ok(all)
}

fn add(all: &mut BTreeMap<PublicKey, Signed>, row: &PgRow) -> sqlx::Result<()> {
    let number =
        |name| Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(name)?.map(i64::unsigned_abs));
    let root = Root::try_from(row.try_get::<&[u8], _>("signing_root")?)
        .map_err(|problem| sqlx::Error::Decode(problem.into()))?;
    let signed = all.entry(public_key(row)?).or_default();
    if let Some(slot) = number("slot")? {
        signed.blocks.push((slot, root));
    }
    if let Some((source, target)) = number("source_epoch")?.zip(number("target_epoch")?) {
        signed.votes.push((source, target, root));
    }
    Ok(())
}
