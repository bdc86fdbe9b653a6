//! Queries on `validator`: its watermarks beside what is signed.

use super::decide::watermarks;
use crate::domain::{PublicKey, Watermarks};
use berth_core::{AccountId, Result};
use berth_runtime::pg;
use sqlx::{PgConnection, Row as _};
use std::collections::BTreeMap;

/// Raises watermarks of the account's validators to those that are imported;
/// lowers none. The roots that are imported are not kept. Returns how many
/// validators it found.
///
/// # Errors
///
/// Those of the database.
pub async fn raise(
    conn: &mut PgConnection,
    account: AccountId,
    imported: &BTreeMap<PublicKey, Watermarks>,
) -> Result<u64> {
    let number = |number: Option<u64>| number.map(|n| i64::try_from(n).unwrap_or(i64::MAX));
    let raised = sqlx::query(
        "with held as (
             select validator.public_key, claim.slot, claim.source, claim.target
             from unnest($2::bytea[], $3::bigint[], $4::bigint[], $5::bigint[])
                  as claim (key, slot, source, target)
             join validator on validator.public_key = claim.key
             where validator.account_id = $1
             order by validator.public_key for update of validator
         )
         update validator set
             block_slot = greatest(block_slot, slot),
             block_root = case when slot >= block_slot then null else block_root end,
             source_epoch = greatest(source_epoch, source),
             target_epoch = greatest(target_epoch, target),
             attestation_root = case when source > source_epoch or target >= target_epoch
                                     then null else attestation_root end
         from held where validator.public_key = held.public_key",
    )
    .bind(account)
    .bind(
        imported
            .keys()
            .map(|key| key.0.to_vec())
            .collect::<Vec<_>>(),
    )
    .bind(
        imported
            .values()
            .map(|w| number(w.block))
            .collect::<Vec<_>>(),
    )
    .bind(
        imported
            .values()
            .map(|w| number(w.vote.map(|vote| vote.0)))
            .collect::<Vec<_>>(),
    )
    .bind(
        imported
            .values()
            .map(|w| number(w.vote.map(|vote| vote.1)))
            .collect::<Vec<_>>(),
    )
    .execute(conn)
    .await
    .map_err(pg::error)?;
    Ok(raised.rows_affected())
}

/// The watermarks of the account's validators on a chain that sign no more, so
/// that nothing is signed after they are exported.
///
/// # Errors
///
/// Those of the database.
pub async fn export(
    conn: &mut PgConnection,
    account: AccountId,
    chain: &str,
) -> Result<BTreeMap<PublicKey, Watermarks>> {
    let rows = sqlx::query(
        "select * from validator
         where account_id = $1 and chain = $2 and state in ('disabled', 'removed')",
    )
    .bind(account)
    .bind(chain)
    .fetch_all(conn)
    .await
    .map_err(pg::error)?;
    rows.iter()
        .map(|row| {
            let key = PublicKey::try_from(row.try_get::<&[u8], _>("public_key")?)
                .map_err(|problem| sqlx::Error::Decode(problem.into()))?;
            Ok((key, watermarks(row)?))
        })
        .collect::<sqlx::Result<_>>()
        .map_err(pg::error)
}
