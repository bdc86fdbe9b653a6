//! Queries on `chain` and `observed`.

use crate::domain::{Calendar, Observed, OnChain, Track};
use berth_core::Result;
use berth_runtime::pg;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, Row as _};
use uuid::Uuid;

/// Knows a chain from now on; returns its id.
///
/// # Errors
///
/// Those of the database.
pub async fn know(conn: &mut PgConnection, chain: &str) -> Result<Uuid> {
    sqlx::query_scalar(
        "insert into chain (name) values ($1)
         on conflict (name) do update set name = excluded.name returning id",
    )
    .bind(chain)
    .fetch_one(conn)
    .await
    .map_err(pg::error)
}

/// A chain by its id: its name, and the newest epoch that was looked at.
///
/// # Errors
///
/// Those of the database.
pub async fn chain(conn: &mut PgConnection, id: Uuid) -> Result<Option<(String, Option<u64>)>> {
    let row: Option<(String, Option<i64>)> =
        sqlx::query_as("select name, epoch from chain where id = $1")
            .bind(id)
            .fetch_optional(conn)
            .await
            .map_err(pg::error)?;
    Ok(row.map(|(name, epoch)| (name, epoch.map(i64::unsigned_abs))))
}

/// Keeps why nothing is learned of a chain, or that something is; whether that
/// is new.
///
/// # Errors
///
/// Those of the database.
pub async fn set_problem(conn: &mut PgConnection, chain: &str, problem: &str) -> Result<bool> {
    let changed = sqlx::query("update chain set problem = $2 where name = $1 and problem <> $2")
        .bind(chain)
        .bind(problem)
        .execute(conn)
        .await
        .map_err(pg::error)?;
    Ok(changed.rows_affected() > 0)
}

/// Keys of the validators of all nodes on a chain.
///
/// # Errors
///
/// Those of the database.
pub async fn wanted(conn: &mut PgConnection, chain: &str) -> Result<Vec<String>> {
    sqlx::query_scalar(
        "select distinct unnest(public_keys) as key from target where chain = $1 order by key",
    )
    .bind(chain)
    .fetch_all(conn)
    .await
    .map_err(pg::error)
}

/// Stores what was seen of a chain: these validators and no others.
///
/// # Errors
///
/// Those of the database.
pub async fn save(
    conn: &mut PgConnection,
    chain: &str,
    calendar: Calendar,
    epoch: Option<u64>,
    seen: &[Observed],
) -> Result<()> {
    let now = berth_core::now();
    sqlx::query(
        "update chain set genesis_time = $2, slot_s = $3, slots_per_epoch = $4,
                          epoch = coalesce($5, epoch)
         where name = $1",
    )
    .bind(chain)
    .bind(number(calendar.genesis_time))
    .bind(number(calendar.slot_s))
    .bind(number(calendar.slots_per_epoch))
    .bind(epoch.map(number))
    .execute(&mut *conn)
    .await
    .map_err(pg::error)?;
    let keys: Vec<_> = seen.iter().map(|one| &one.public_key).collect();
    sqlx::query("delete from observed where chain = $1 and public_key <> all($2)")
        .bind(chain)
        .bind(keys)
        .execute(&mut *conn)
        .await
        .map_err(pg::error)?;
    for one in seen {
        sqlx::query(
            "insert into observed values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
             on conflict (chain, public_key) do update
             set index = excluded.index, status = excluded.status, slashed = excluded.slashed,
                 balance = excluded.balance, epoch = excluded.epoch,
                 seen_epoch = excluded.seen_epoch, silent_first = excluded.silent_first,
                 silent_last = excluded.silent_last, observe_time = excluded.observe_time",
        )
        .bind(chain)
        .bind(&one.public_key)
        .bind(one.index.map(number))
        .bind(one.status.name())
        .bind(one.slashed)
        .bind(number(one.balance))
        .bind(number(one.epoch))
        .bind(one.track.seen_epoch.map(number))
        .bind(one.track.silent.map(|(first, _)| number(first)))
        .bind(one.track.silent.map(|(_, last)| number(last)))
        .bind(now)
        .execute(&mut *conn)
        .await
        .map_err(pg::error)?;
    }
    Ok(())
}

/// What is known of validators of a chain.
///
/// # Errors
///
/// Those of the database.
pub async fn of_chain(conn: &mut PgConnection, chain: &str) -> Result<Vec<Observed>> {
    sqlx::query_as("select * from observed where chain = $1 order by public_key")
        .bind(chain)
        .fetch_all(conn)
        .await
        .map_err(pg::error)
}

/// What was seen of a node's validators within the last epochs; `None` unless
/// it was of all of them.
///
/// # Errors
///
/// Those of the database.
pub async fn of_node(
    conn: &mut PgConnection,
    chain: &str,
    public_keys: &[String],
    now: DateTime<Utc>,
) -> Result<Option<OnChain>> {
    if public_keys.is_empty() {
        return Ok(None);
    }
    let row: Option<(i64, i64, i64)> =
        sqlx::query_as("select genesis_time, slot_s, slots_per_epoch from chain where name = $1")
            .bind(chain)
            .fetch_optional(&mut *conn)
            .await
            .map_err(pg::error)?;
    let Some((genesis_time, slot_s, slots_per_epoch)) = row else {
        return Ok(None);
    };
    let calendar = Calendar {
        genesis_time: genesis_time.unsigned_abs(),
        slot_s: slot_s.unsigned_abs(),
        slots_per_epoch: slots_per_epoch.unsigned_abs(),
    };
    let lately = calendar.epoch().checked_mul(4).unwrap_or(TimeDelta::zero());
    let validators: Vec<Observed> = sqlx::query_as(
        "select * from observed
         where chain = $1 and public_key = any($2) and observe_time >= $3 order by public_key",
    )
    .bind(chain)
    .bind(public_keys)
    .bind(now - TimeDelta::minutes(1) - lately)
    .fetch_all(conn)
    .await
    .map_err(pg::error)?;
    Ok((validators.len() == public_keys.len()).then_some(OnChain {
        calendar,
        validators,
    }))
}

fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl FromRow<'_, PgRow> for Observed {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let optional = |name| {
            Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(name)?.map(i64::unsigned_abs))
        };
        let status: &str = row.try_get("status")?;
        Ok(Self {
            public_key: row.try_get("public_key")?,
            index: optional("index")?,
            status: status
                .parse()
                .map_err(|problem| sqlx::Error::Decode(Box::new(problem)))?,
            slashed: row.try_get("slashed")?,
            balance: row.try_get::<i64, _>("balance")?.unsigned_abs(),
            epoch: row.try_get::<i64, _>("epoch")?.unsigned_abs(),
            track: Track {
                seen_epoch: optional("seen_epoch")?,
                silent: optional("silent_first")?.zip(optional("silent_last")?),
            },
        })
    }
}
