//! Queries on `seal`: what was signed, sealed in a chain of hashes whose head
//! stands outside this database as well.

use super::checks::Lineage;
use berth_core::Result;
use berth_runtime::pg;
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

/// How many of the newest seals are computed again at start.
const COMPUTED_AGAIN: i64 = 300;

/// What is wrong with a database that does not reach a mark.
pub const UNDONE: &str = "the database has gone back behind what this signer saw of it";

/// The head of the chain.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Seal {
    /// Its number.
    pub sequence: i64,
    /// What it holds, and all before it.
    pub hash: Vec<u8>,
}

/// How far a database had come, to be known again: a seal, and where its chain
/// begins.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Mark {
    /// The newest seal then.
    #[sqlx(flatten)]
    pub seal: Seal,
    /// The number of the seal that began its chain.
    pub begun: i64,
}

/// The identity of the database.
///
/// # Errors
///
/// Those of the database.
pub async fn database_id(db: impl PgExecutor<'_>) -> Result<Uuid> {
    sqlx::query_scalar("select database_id from identity")
        .fetch_one(db)
        .await
        .map_err(pg::error)
}

/// Where the database lives now.
///
/// # Errors
///
/// Those of the database.
pub async fn lineage(conn: &mut PgConnection) -> Result<Lineage> {
    super::checks::lineage(conn).await.map_err(pg::error)
}

/// Whether there is nothing yet that could be forgotten.
///
/// # Errors
///
/// Those of the database.
pub async fn is_new(db: impl PgExecutor<'_>) -> Result<bool> {
    sqlx::query_scalar(
        "select not exists (select from validator) and not exists (select from signature)",
    )
    .fetch_one(db)
    .await
    .map_err(pg::error)
}

/// Begins a chain, at `sequence` or later; nothing where another replica does so
/// at the same time.
///
/// # Errors
///
/// Those of the database.
pub async fn begin(db: impl PgExecutor<'_>, sequence: i64) -> Result<Option<Seal>> {
    sqlx::query_as(
        "insert into seal (sequence, hash, begins)
         select greatest($1, coalesce(max(sequence) + 1, 0)),
                sha256(convert_to(gen_random_uuid()::text, 'UTF8')), true
         from seal
         on conflict do nothing
         returning sequence, hash",
    )
    .bind(sequence)
    .fetch_optional(db)
    .await
    .map_err(pg::error)
}

/// Seals what was signed since the last seal by transactions that are over;
/// nothing where there is nothing new, or another replica was first.
///
/// # Errors
///
/// Those of the database.
pub async fn seal(db: impl PgExecutor<'_>) -> Result<()> {
    sqlx::query(
        "with last as (select * from seal order by sequence desc limit 1),
              over as (select pg_snapshot_xmin(pg_current_snapshot()) as oldest)
         insert into seal (sequence, until, hash)
         select sequence + 1, oldest, sealed(hash, until, oldest)
         from last, over
         where exists (select from signature where transaction >= until and transaction < oldest)
         on conflict do nothing",
    )
    .execute(db)
    .await
    .map(drop)
    .map_err(pg::error)
}

/// The newest seal.
///
/// # Errors
///
/// Those of the database.
pub async fn newest(db: impl PgExecutor<'_>) -> Result<Option<Seal>> {
    sqlx::query_as("select sequence, hash from seal order by sequence desc limit 1")
        .fetch_optional(db)
        .await
        .map_err(pg::error)
}

/// How far the database has come.
///
/// # Errors
///
/// Those of the database.
pub async fn mark(db: impl PgExecutor<'_>) -> Result<Option<Mark>> {
    sqlx::query_as(
        "select sequence, hash,
                (select sequence from seal where begins order by sequence desc limit 1) as begun
         from seal order by sequence desc limit 1",
    )
    .fetch_optional(db)
    .await
    .map_err(pg::error)
}

/// Whether the database has come so far: it has the seal, or it was anchored
/// anew since, with every watermark raised.
///
/// # Errors
///
/// Those of the database.
pub async fn reaches(db: impl PgExecutor<'_>, mark: &Mark) -> Result<bool> {
    sqlx::query_scalar(
        "select exists (select from seal where sequence = $1 and hash = $2)
             or exists (select from seal where begins and sequence > $3)",
    )
    .bind(mark.seal.sequence)
    .bind(&mark.seal.hash)
    .bind(mark.begun)
    .fetch_one(db)
    .await
    .map_err(pg::error)
}

/// Whether this seal is here.
///
/// # Errors
///
/// Those of the database.
pub async fn knows(db: impl PgExecutor<'_>, seal: &Seal) -> Result<bool> {
    sqlx::query_scalar("select exists (select from seal where sequence = $1 and hash = $2)")
        .bind(seal.sequence)
        .bind(&seal.hash)
        .fetch_one(db)
        .await
        .map_err(pg::error)
}

/// What the newest seals and the history say against each other or against the
/// watermarks, if anything.
///
/// # Errors
///
/// Those of the database.
pub async fn contradiction(conn: &mut PgConnection) -> Result<Option<String>> {
    let wrong: Option<i64> = sqlx::query_scalar(
        "with newest as (select * from seal order by sequence desc limit $1),
              linked as (
                  select *, lag(hash) over (order by sequence) as before,
                         lag(until) over (order by sequence) as since
                  from newest
              )
         select min(sequence) from linked
         where not begins and since is not null and hash <> sealed(before, since, until)",
    )
    .bind(COMPUTED_AGAIN)
    .fetch_one(&mut *conn)
    .await
    .map_err(pg::error)?;
    if let Some(sequence) = wrong {
        return Ok(Some(format!(
            "the history is not what seal {sequence} says"
        )));
    }
    let above: i64 = sqlx::query_scalar(
        "with newest as (select * from seal order by sequence desc limit $1),
              since as (
                  select coalesce(max(until) filter (where begins), min(until)) as since from newest
              )
         select count(distinct signature.public_key)
         from since
         join signature on transaction >= since.since
         left join validator on validator.public_key = signature.public_key
         where validator.public_key is null
            or coalesce(signature.slot > coalesce(validator.block_slot, -1), false)
            or coalesce(signature.source_epoch > coalesce(validator.source_epoch, -1), false)
            or coalesce(signature.target_epoch > coalesce(validator.target_epoch, -1), false)",
    )
    .bind(COMPUTED_AGAIN)
    .fetch_one(conn)
    .await
    .map_err(pg::error)?;
    Ok((above > 0).then(|| format!("{above} validators signed more than their rows say")))
}

/// The highest that may have been signed on a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ceiling {
    /// Its name.
    pub chain: String,
    /// Slot of a block.
    pub slot: i64,
    /// Source of a vote.
    pub source: i64,
    /// Target of a vote.
    pub target: i64,
}

/// Raises the watermarks of every validator to the ceiling of its chain, lowers
/// none, and takes every grant back: a later fence may be forgotten as well.
/// Returns how many validators there are.
///
/// # Errors
///
/// Those of the database.
pub async fn raise_all(conn: &mut PgConnection, ceilings: &[Ceiling]) -> Result<u64> {
    sqlx::query("update node set granted = false")
        .execute(&mut *conn)
        .await
        .map_err(pg::error)?;
    let column = |number: fn(&Ceiling) -> i64| ceilings.iter().map(number).collect::<Vec<_>>();
    let chains: Vec<_> = ceilings.iter().map(|one| one.chain.clone()).collect();
    let raised = sqlx::query(
        "with held as (
             select validator.public_key, ceiling.slot, ceiling.source, ceiling.target
             from unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[])
                  as ceiling (chain, slot, source, target)
             join validator on validator.chain = ceiling.chain
             order by validator.public_key for update of validator
         )
         update validator set
             granted = false,
             block_slot = greatest(block_slot, slot),
             block_root = case when slot >= block_slot then null else block_root end,
             source_epoch = greatest(source_epoch, source),
             target_epoch = greatest(target_epoch, target),
             attestation_root = case when source > source_epoch or target >= target_epoch
                                     then null else attestation_root end
         from held where validator.public_key = held.public_key",
    )
    .bind(&chains)
    .bind(column(|one| one.slot))
    .bind(column(|one| one.source))
    .bind(column(|one| one.target))
    .execute(conn)
    .await
    .map_err(pg::error)?;
    Ok(raised.rows_affected())
}

/// How many validators a chain has.
///
/// # Errors
///
/// Those of the database.
pub async fn validators(db: impl PgExecutor<'_>, chain: &str) -> Result<i64> {
    sqlx::query_scalar("select count(*) from validator where chain = $1")
        .bind(chain)
        .fetch_one(db)
        .await
        .map_err(pg::error)
}
