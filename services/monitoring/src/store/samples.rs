//! Queries on `series` and `sample`.

use crate::domain::{Count, Reading, Readings, Signs};
use berth_core::{Fence, NodeId, Result};
use berth_runtime::pg;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

/// The newest samples that a node's current placement sent.
///
/// # Errors
///
/// Those of the database.
pub async fn newest(conn: &mut PgConnection, node: NodeId, fence: Fence) -> Result<Readings> {
    let readings: Vec<Reading> = sqlx::query_as(
        "select name, labels, last_time, last_value from series
         where node_id = $1 and fence = $2 order by name, labels",
    )
    .bind(node)
    .bind(fence)
    .fetch_all(conn)
    .await
    .map_err(pg::error)?;
    Ok(Readings(readings))
}

/// The samples of the counters of a duty that the current placement sent within
/// the window, which ends with the newest sample of the node: oldest first.
///
/// # Errors
///
/// Those of the database.
pub async fn counts(
    conn: &mut PgConnection,
    node: NodeId,
    fence: Fence,
    signs: &Signs,
) -> Result<Vec<Count>> {
    sqlx::query_as(
        "select s.name, h.time, h.value
         from series s join sample h on h.series_id = s.id and h.fence = $2
         where s.node_id = $1 and s.labels = '' and s.name = any($3)
           and h.time >= (select max(last_time) from series where node_id = $1 and fence = $2)
                         - make_interval(secs => $4)
         order by s.name, h.time",
    )
    .bind(node)
    .bind(fence)
    .bind(signs.counters().collect::<Vec<_>>())
    .bind(TimeDelta::seconds(signs.window_s).as_seconds_f64())
    .fetch_all(conn)
    .await
    .map_err(pg::error)
}

/// One sample of a series, with what the series is called.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct HistoryRow {
    /// The series.
    pub series_id: i64,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: String,
    /// Its unit.
    pub unit: String,
    /// When.
    pub time: DateTime<Utc>,
    /// What.
    pub value: f64,
}

/// Which history is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Names of series; empty for all.
    pub names: Vec<String>,
    /// From then on.
    pub start: DateTime<Utc>,
    /// Until then.
    pub end: DateTime<Utc>,
    /// One sample for each such interval.
    pub step: Option<TimeDelta>,
}

/// Most samples a series.
const MAX_SAMPLES: i64 = 1000;
/// Most samples in all, so that an answer fits into a message.
const MAX_ANSWER: i64 = 100_000;

/// History in order of series and time: of each series the newest
/// [`MAX_SAMPLES`], or fewer when there are so many series that the answer
/// would not fit.
///
/// # Errors
///
/// Those of the database.
pub async fn history(
    conn: &mut PgConnection,
    node: NodeId,
    query: &HistoryQuery,
) -> Result<Vec<HistoryRow>> {
    let step = query.step.map_or(0, |step| step.num_seconds());
    sqlx::query_as(
        "select s.id as series_id, s.name, s.labels, s.unit, h.time, h.value
         from (select *, count(*) over () as many from series
               where node_id = $1 and (cardinality($2::text[]) = 0 or name = any($2))) s
         cross join lateral (
             select time, value from (
                 select distinct on (bucket) time, value,
                        case when $5 > 0 then floor(extract(epoch from time) / $5)
                             else extract(epoch from time) end as bucket
                 from sample
                 where series_id = s.id and time >= $3 and time <= $4
                 order by bucket desc, time desc limit least($6, $7 / s.many)) newest) h
         order by s.name, s.labels, h.time",
    )
    .bind(node)
    .bind(&query.names)
    .bind(query.start)
    .bind(query.end)
    .bind(step)
    .bind(MAX_SAMPLES)
    .bind(MAX_ANSWER)
    .fetch_all(conn)
    .await
    .map_err(pg::error)
}

/// Removes samples older than a time, at most `limit` of them; returns how many.
///
/// # Errors
///
/// Those of the database.
pub async fn remove_before(
    conn: &mut PgConnection,
    time: DateTime<Utc>,
    limit: i64,
) -> Result<u64> {
    let removed = sqlx::query(
        "delete from sample where ctid = any(array(
             select ctid from sample where time < $1 limit $2))",
    )
    .bind(time)
    .bind(limit)
    .execute(conn)
    .await
    .map_err(pg::error)?;
    Ok(removed.rows_affected())
}

/// Forgets series that their node has not sent for so long, while it sent
/// others. A silent node keeps all of them. Returns how many.
///
/// # Errors
///
/// Those of the database.
pub async fn remove_unsent(conn: &mut PgConnection, long: TimeDelta) -> Result<u64> {
    let removed = sqlx::query(
        "with n as (select node_id, max(last_time) as newest from series group by node_id),
              -- Those that store an export now have their turn the next time.
              free as (
                  select node_id from target where node_id in (
                      select s.node_id from series s join n using (node_id)
                      where s.last_time < n.newest - make_interval(secs => $1))
                  order by node_id for no key update skip locked)
         delete from series s using n, free
         where n.node_id = s.node_id and free.node_id = s.node_id
           and s.last_time < n.newest - make_interval(secs => $1)",
    )
    .bind(long.as_seconds_f64())
    .execute(conn)
    .await
    .map_err(pg::error)?;
    Ok(removed.rows_affected())
}
