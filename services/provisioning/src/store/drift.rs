//! Queries on `drift`.

use crate::domain::Watch;
use berth_core::{NodeId, Result};
use berth_runtime::pg;
use sqlx::PgConnection;
use sqlx::types::Json;

/// What is known of the machine of a node.
///
/// # Errors
///
/// Those of the database.
pub async fn get(conn: &mut PgConnection, node_id: NodeId) -> Result<Option<Watch>> {
    sqlx::query_as("select * from drift where node_id = $1")
        .bind(node_id)
        .fetch_optional(conn)
        .await
        .map_err(pg::error)
}

/// Writes it.
///
/// # Errors
///
/// Those of the database.
pub async fn save(conn: &mut PgConnection, watch: &Watch) -> Result<()> {
    sqlx::query(
        "insert into drift (node_id, placement_id, look_time, facts_time, boot, hardware, report,
                            repairs)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict (node_id) do update set
             placement_id = $2, look_time = $3, facts_time = $4, boot = $5, hardware = $6,
             report = $7, repairs = $8",
    )
    .bind(watch.node_id)
    .bind(watch.placement_id)
    .bind(watch.look_time)
    .bind(watch.facts_time)
    .bind(&watch.boot)
    .bind(&watch.hardware)
    .bind(&watch.report)
    .bind(Json(&watch.repairs))
    .execute(conn)
    .await
    .map_err(pg::error)?;
    Ok(())
}
