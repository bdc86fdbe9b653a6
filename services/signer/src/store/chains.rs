//! Queries on `chain`.

use crate::domain::{Chain, Preset, Root, Schedule};
use berth_core::{Error, Resource, Result};
use berth_runtime::pg;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, Row as _};

/// Pins a chain, and returns what is pinned under its name then: the one that
/// came first. Locked until the transaction ends.
///
/// # Errors
///
/// Those of the database.
pub async fn pin(conn: &mut PgConnection, chain: &Chain) -> Result<Chain> {
    sqlx::query(
        "insert into chain (name, genesis_validators_root, genesis_time, seconds_per_slot, preset,
                            forks)
         values ($1, $2, $3, $4, $5, $6) on conflict do nothing",
    )
    .bind(&chain.name)
    .bind(&chain.genesis_validators_root.0[..])
    .bind(i64::try_from(chain.genesis_time).map_err(Error::internal)?)
    .bind(i32::try_from(chain.seconds_per_slot).map_err(Error::internal)?)
    .bind(chain.preset.name())
    .bind(Json(&chain.forks))
    .execute(&mut *conn)
    .await
    .map_err(pg::error)?;
    sqlx::query_as("select * from chain where name = $1 for update")
        .bind(&chain.name)
        .fetch_one(conn)
        .await
        .map_err(pg::error)
}

/// Replaces the forks of a chain that is locked.
///
/// # Errors
///
/// Those of the database.
pub async fn set_forks(conn: &mut PgConnection, chain: &Chain) -> Result<()> {
    sqlx::query("update chain set forks = $2 where name = $1")
        .bind(&chain.name)
        .bind(Json(&chain.forks))
        .execute(conn)
        .await
        .map_err(pg::error)?;
    Ok(())
}

/// Finds a chain.
///
/// # Errors
///
/// [`Error::NotFound`] when none is pinned under the name.
pub async fn get(conn: &mut PgConnection, name: &str) -> Result<Chain> {
    sqlx::query_as("select * from chain where name = $1")
        .bind(name)
        .fetch_optional(conn)
        .await
        .map_err(pg::error)?
        .ok_or_else(|| Error::not_found(Resource::Chain, name))
}

impl FromRow<'_, PgRow> for Chain {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let root: &[u8] = row.try_get("genesis_validators_root")?;
        let Json(forks): Json<Schedule> = row.try_get("forks")?;
        Ok(Self {
            name: row.try_get("name")?,
            genesis_validators_root: Root::try_from(root).map_err(wrong)?,
            genesis_time: row.try_get::<i64, _>("genesis_time")?.unsigned_abs(),
            seconds_per_slot: row.try_get::<i32, _>("seconds_per_slot")?.unsigned_abs(),
            preset: row
                .try_get::<&str, _>("preset")?
                .parse::<Preset>()
                .map_err(wrong)?,
            forks,
        })
    }
}

fn wrong(problem: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(problem.into())
}
