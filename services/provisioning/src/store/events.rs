//! Queries on `node_event`.

use crate::domain::{Node, NodeEvent, Step};
use berth_core::{Error, NodeId, Resource, Result};
use berth_runtime::pg;
use sqlx::PgConnection;

/// Channel on which changes of nodes are announced, by identifier.
pub const CHANNEL: &str = "berth_node";
/// Events that are kept of a node.
const KEPT: i64 = 1000;
/// Longest message, in characters.
const MAX_MESSAGE: usize = 1000;

/// Writes what happens to a node, unless it changed since it was read. What was
/// told since the last change of state or version is not told again: work that
/// waits is tried often, and its steps are no news.
///
/// # Errors
///
/// [`Error::Conflict`] when it changed.
pub async fn append(conn: &mut PgConnection, node: &Node, step: &Step) -> Result<()> {
    let message: String = step.message.chars().take(MAX_MESSAGE).collect();
    let percent = step.percent.map_or(-1, i32::from);
    let sequence: i64 = sqlx::query_scalar(
        "update node set last_event = last_event + case when exists (
             select 1 from node_event
             where node_id = $1 and step = $3 and message = $4 and percent = $5
               and sequence > (select max(sequence) from node_event
                               where node_id = $1 and step in ('state', 'upgrade'))) then 0 else 1 end
         where id = $1 and version = $2 returning last_event",
    )
    .bind(node.id)
    .bind(node.version)
    .bind(step.name)
    .bind(&message)
    .bind(percent)
    .fetch_optional(&mut *conn)
    .await
    .map_err(pg::error)?
    .ok_or(Error::Conflict {
        resource: Resource::Node,
    })?;
    let told = sqlx::query(
        "insert into node_event (node_id, sequence, create_time, step, message, percent, state)
         values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing",
    )
    .bind(node.id)
    .bind(sequence)
    .bind(berth_core::now())
    .bind(step.name)
    .bind(message)
    .bind(percent)
    .bind(node.state)
    .execute(&mut *conn)
    .await
    .map_err(pg::error)?
    .rows_affected();
    if told == 0 {
        return Ok(());
    }
    sqlx::query("delete from node_event where node_id = $1 and sequence <= $2")
        .bind(node.id)
        .bind(sequence - KEPT)
        .execute(&mut *conn)
        .await
        .map_err(pg::error)?;
    announce(conn, node.id).await
}

/// Tells watchers that something of the node changed.
///
/// # Errors
///
/// Those of the database.
pub async fn announce(conn: &mut PgConnection, node_id: NodeId) -> Result<()> {
    sqlx::query("select pg_notify($1, $2)")
        .bind(CHANNEL)
        .bind(node_id.to_string())
        .execute(conn)
        .await
        .map_err(pg::error)?;
    Ok(())
}

/// The events of a node after a sequence, oldest first, a hundred at most.
///
/// # Errors
///
/// Those of the database.
pub async fn after(
    conn: &mut PgConnection,
    node_id: NodeId,
    sequence: i64,
) -> Result<Vec<NodeEvent>> {
    sqlx::query_as(
        "select sequence, create_time, step, message, percent, state from node_event
         where node_id = $1 and sequence > $2 order by sequence limit 100",
    )
    .bind(node_id)
    .bind(sequence)
    .fetch_all(conn)
    .await
    .map_err(pg::error)
}
