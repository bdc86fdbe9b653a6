//! Queries on `node_upgrade`: the last upgrade of each node.

use super::{events, nodes};
use crate::domain::{Gate, Node, Side, Step, Upgrade, UpgradeEvent};
use berth_core::{Error, NodeId, Resource, Result};
use berth_runtime::pg;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, Row as _};
use std::collections::BTreeMap;

impl FromRow<'_, PgRow> for Upgrade {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let from: Json<BTreeMap<String, String>> = row.try_get("from_settings")?;
        let to: Json<BTreeMap<String, String>> = row.try_get("to_settings")?;
        Ok(Self {
            from: Side {
                revision: row.try_get("from_revision")?,
                version: row.try_get("from_version")?,
                settings: from.0,
            },
            to: Side {
                revision: row.try_get("to_revision")?,
                version: row.try_get("to_version")?,
                settings: to.0,
            },
            reversible: row.try_get("reversible")?,
            state: row.try_get("state")?,
            reason: row.try_get("reason")?,
            gate: Gate::from_row(row)?,
            create_time: row.try_get("create_time")?,
        })
    }
}

/// The last upgrade of a node that was asked for.
///
/// # Errors
///
/// Those of the database.
pub async fn last(conn: &mut PgConnection, node_id: NodeId) -> Result<Option<Upgrade>> {
    sqlx::query_as("select * from node_upgrade where node_id = $1")
        .bind(node_id)
        .fetch_optional(conn)
        .await
        .map_err(pg::error)
}

/// The last upgrade of each of these nodes.
///
/// # Errors
///
/// Those of the database.
pub async fn last_of(
    conn: &mut PgConnection,
    nodes: &[NodeId],
) -> Result<BTreeMap<NodeId, Upgrade>> {
    let rows: Vec<PgRow> = sqlx::query("select * from node_upgrade where node_id = any($1)")
        .bind(nodes)
        .fetch_all(conn)
        .await
        .map_err(pg::error)?;
    rows.iter()
        .map(|row| Ok((row.try_get("node_id")?, Upgrade::from_row(row)?)))
        .collect::<sqlx::Result<_>>()
        .map_err(pg::error)
}

/// Begins an upgrade in the place of the last, which is over. The node counts
/// as changed.
///
/// # Errors
///
/// [`Error::Conflict`] when the node changed since it was read, or an upgrade of
/// it is under way.
pub async fn begin(conn: &mut PgConnection, node: &Node, new: &Upgrade) -> Result<()> {
    sqlx::query(
        "delete from node_upgrade where node_id = $1
             and state not in ('pulling', 'checking', 'rolling_back')",
    )
    .bind(node.id)
    .execute(&mut *conn)
    .await
    .map_err(pg::error)?;
    let made = sqlx::query(
        "insert into node_upgrade (node_id, chain_id, from_revision, to_revision, from_version,
             to_version, from_settings, to_settings, reversible, state, deadline, look_time,
             create_time)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
         on conflict do nothing",
    )
    .bind(node.id)
    .bind(&node.chain_id)
    .bind(new.from.revision)
    .bind(new.to.revision)
    .bind(&new.from.version)
    .bind(&new.to.version)
    .bind(Json(&new.from.settings))
    .bind(Json(&new.to.settings))
    .bind(new.reversible)
    .bind(new.state)
    .bind(new.gate.deadline)
    .bind(new.gate.look_time)
    .bind(new.create_time)
    .execute(&mut *conn)
    .await
    .map_err(pg::error)?
    .rows_affected();
    if made == 0 {
        return Err(changed());
    }
    let node = nodes::touch(conn, node).await?;
    let message = format!(
        "to version {}: its images come first, and version {} runs on meanwhile",
        new.to.version, new.from.version
    );
    events::append(conn, &node, &Step::new("upgrade", message)).await
}

/// Does to an upgrade what an event does to it. `why` is kept for people, and
/// the gate for the next look.
///
/// # Errors
///
/// [`Error::Conflict`] when it is not as it was read, or the event cannot happen
/// to it any more.
pub async fn apply(
    conn: &mut PgConnection,
    node_id: NodeId,
    upgrade: &Upgrade,
    event: UpgradeEvent,
    why: &str,
) -> Result<()> {
    let next = upgrade.state.after(event).ok_or_else(changed)?;
    let done = sqlx::query(
        "update node_upgrade set state = $3, reason = left($4, 1000)
         where node_id = $1 and state = $2",
    )
    .bind(node_id)
    .bind(upgrade.state)
    .bind(next)
    .bind(why)
    .execute(&mut *conn)
    .await
    .map_err(pg::error)?;
    if done.rows_affected() == 0 {
        return Err(changed());
    }
    // Kept of an upgrade that is over: until when it had.
    if next.is_open() {
        set_gate(conn, node_id, &upgrade.gate).await?;
    }
    events::announce(conn, node_id).await
}

/// Notes what is known of the health of what was started.
///
/// # Errors
///
/// Those of the database.
pub async fn set_gate(conn: &mut PgConnection, node_id: NodeId, gate: &Gate) -> Result<()> {
    sqlx::query(
        "update node_upgrade set deadline = $2, look_time = $3, steady_time = $4, restarts = $5,
             height = $6
         where node_id = $1",
    )
    .bind(node_id)
    .bind(gate.deadline)
    .bind(gate.look_time)
    .bind(gate.steady_time)
    .bind(gate.restarts)
    .bind(gate.height)
    .execute(conn)
    .await
    .map_err(pg::error)?;
    Ok(())
}

/// Ends the upgrade of a node, if one is under way, and says which version the
/// node has then.
///
/// # Errors
///
/// Those of the database, and of [`events::append`].
pub async fn give_up(conn: &mut PgConnection, node: &Node, why: &str) -> Result<()> {
    let Some(upgrade) = last(conn, node.id).await? else {
        return Ok(());
    };
    if !upgrade.state.is_open() {
        return Ok(());
    }
    let has = if node.chain_revision == upgrade.to.revision {
        &upgrade.to.version
    } else {
        &upgrade.from.version
    };
    let earlier = if upgrade.reason.is_empty() {
        String::new()
    } else {
        format!("; before that: {}", upgrade.reason)
    };
    let why = format!("{why}; it has version {has}{earlier}");
    apply(conn, node.id, &upgrade, UpgradeEvent::GiveUp, &why).await?;
    let step = Step::new("upgrade", format!("given up: {why}"));
    events::append(conn, node, &step).await
}

fn changed() -> Error {
    Error::Conflict {
        resource: Resource::Node,
    }
}
