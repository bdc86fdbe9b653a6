//! Queries on `placement`.

use crate::domain::{Node, Placement, PlacementEvent, Share};
use berth_core::{Error, Fence, LeaseId, MachineId, NodeId, PlacementId, Resource, Result};
use berth_runtime::pg;
use sqlx::PgConnection;

/// Where a node is about to be placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The machine.
    pub machine_id: MachineId,
    /// The lease under which it may be used.
    pub lease_id: LeaseId,
    /// What the node takes of it.
    pub share: Share,
    /// Added to the numbers of its ports.
    pub port_offset: i32,
}

impl From<&Placement> for Place {
    /// The same place again.
    fn from(placement: &Placement) -> Self {
        Self {
            machine_id: placement.machine_id,
            lease_id: placement.lease_id,
            share: placement.share.clone(),
            port_offset: placement.port_offset,
        }
    }
}

/// Fences the current placement of a node, if it has one, and makes the next:
/// from that commit on only the new one may act.
///
/// # Errors
///
/// [`Error::Conflict`] when another placer was faster.
pub async fn advance(conn: &mut PgConnection, node: &Node, place: &Place) -> Result<Placement> {
    advance_above(conn, node, place, Fence::NONE).await
}

/// The same with a fence above one that is known elsewhere.
///
/// # Errors
///
/// [`Error::Conflict`] when another placer was faster.
pub async fn advance_above(
    conn: &mut PgConnection,
    node: &Node,
    place: &Place,
    known: Fence,
) -> Result<Placement> {
    // Placers of one node come one after the other.
    super::nodes::lock(conn, node.id).await?;
    fence(conn, node.id).await?;
    sqlx::query_as(
        "insert into placement (id, node_id, machine_id, lease_id, fence, state,
                                cpu_millis, memory_bytes, gpus, ports, port_offset)
         select $1, $2, $3, $4, greatest(max(fence), $10) + 1, 'current', $5, $6, $7, $8, $9
         from placement where node_id = $2
         returning *",
    )
    .bind(PlacementId::generate())
    .bind(node.id)
    .bind(place.machine_id)
    .bind(place.lease_id)
    .bind(place.share.cpu_millis)
    .bind(place.share.memory_bytes)
    .bind(place.share.gpus)
    .bind(&place.share.ports)
    .bind(place.port_offset)
    .bind(known)
    .fetch_one(conn)
    .await
    .map_err(|error| {
        let raced = [
            "placement_one_current",
            "placement_fence_is_its_own",
            "placement_fence_grows",
        ];
        if raced
            .iter()
            .any(|constraint| pg::violates(&error, constraint))
        {
            Error::Conflict {
                resource: Resource::Placement,
            }
        } else {
            pg::error(error)
        }
    })
}

/// Fences the current placement of a node, if it has one.
///
/// # Errors
///
/// Those of the database.
pub async fn fence(conn: &mut PgConnection, node_id: NodeId) -> Result<()> {
    match current(conn, node_id).await? {
        Some(current) => apply(conn, &current, PlacementEvent::Fence).await,
        None => Ok(()),
    }
}

/// Does to a placement what an event does to it.
///
/// # Errors
///
/// [`Error::Precondition`] when its state forbids the event.
pub async fn apply(
    conn: &mut PgConnection,
    placement: &Placement,
    event: PlacementEvent,
) -> Result<()> {
    let state = placement.apply(event)?;
    sqlx::query(
        "update placement set state = $2, fence_time = coalesce(fence_time, $3) where id = $1",
    )
    .bind(placement.id)
    .bind(state)
    .bind(berth_core::now())
    .execute(conn)
    .await
    .map_err(pg::error)?;
    Ok(())
}

/// The placement that may act, if there is one.
///
/// # Errors
///
/// Those of the database.
pub async fn current(conn: &mut PgConnection, node_id: NodeId) -> Result<Option<Placement>> {
    sqlx::query_as("select * from placement where node_id = $1 and state = 'current'")
        .bind(node_id)
        .fetch_optional(conn)
        .await
        .map_err(pg::error)
}

/// The placement with the highest fence, if there was ever one.
///
/// # Errors
///
/// Those of the database.
pub async fn latest(conn: &mut PgConnection, node_id: NodeId) -> Result<Option<Placement>> {
    sqlx::query_as("select * from placement where node_id = $1 order by fence desc limit 1")
        .bind(node_id)
        .fetch_optional(conn)
        .await
        .map_err(pg::error)
}

/// The latest placement of each of these nodes.
///
/// # Errors
///
/// Those of the database.
pub async fn latest_of(conn: &mut PgConnection, nodes: &[NodeId]) -> Result<Vec<Placement>> {
    sqlx::query_as(
        "select distinct on (node_id) * from placement where node_id = any($1)
         order by node_id, fence desc",
    )
    .bind(nodes)
    .fetch_all(conn)
    .await
    .map_err(pg::error)
}

/// One placement.
///
/// # Errors
///
/// [`Error::NotFound`].
pub async fn get(conn: &mut PgConnection, id: PlacementId) -> Result<Placement> {
    sqlx::query_as("select * from placement where id = $1")
        .bind(id)
        .fetch_optional(conn)
        .await
        .map_err(pg::error)?
        .ok_or_else(|| Error::not_found(Resource::Placement, id))
}

/// The placements of a node of which something may stand on a machine.
///
/// # Errors
///
/// Those of the database.
pub async fn unwiped(conn: &mut PgConnection, node_id: NodeId) -> Result<Vec<Placement>> {
    sqlx::query_as(
        "select * from placement where node_id = $1 and state in ('current', 'fenced')
         order by fence desc",
    )
    .bind(node_id)
    .fetch_all(conn)
    .await
    .map_err(pg::error)
}

/// The placements of which something may stand on a machine.
///
/// # Errors
///
/// Those of the database.
pub async fn on_machine(conn: &mut PgConnection, machine_id: MachineId) -> Result<Vec<Placement>> {
    sqlx::query_as(
        "select * from placement where machine_id = $1 and state in ('current', 'fenced')
         order by node_id, fence desc",
    )
    .bind(machine_id)
    .fetch_all(conn)
    .await
    .map_err(pg::error)
}

/// What other nodes take of a machine. Placers on the same machine wait here
/// for each other until they commit.
///
/// # Errors
///
/// Those of the database.
pub async fn shares_beside(
    conn: &mut PgConnection,
    machine_id: MachineId,
    node_id: NodeId,
) -> Result<Vec<Share>> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended($1::text, 0))")
        .bind(machine_id)
        .execute(&mut *conn)
        .await
        .map_err(pg::error)?;
    sqlx::query_as(
        "select distinct on (node_id) cpu_millis, memory_bytes, gpus, ports from placement
         where machine_id = $1 and node_id <> $2 and state in ('current', 'fenced')
         order by node_id, fence desc",
    )
    .bind(machine_id)
    .bind(node_id)
    .fetch_all(conn)
    .await
    .map_err(pg::error)
}

/// Notes what a placement takes of its machine, which is less than it took.
///
/// # Errors
///
/// Those of the database.
pub async fn set_share(conn: &mut PgConnection, id: PlacementId, share: &Share) -> Result<()> {
    sqlx::query(
        "update placement set cpu_millis = $2, memory_bytes = $3, gpus = $4, ports = $5
         where id = $1",
    )
    .bind(id)
    .bind(share.cpu_millis)
    .bind(share.memory_bytes)
    .bind(share.gpus)
    .bind(&share.ports)
    .execute(conn)
    .await
    .map_err(pg::error)?;
    Ok(())
}

/// Notes that all of a placement stands on its machine.
///
/// # Errors
///
/// Those of the database.
pub async fn set_deployed(conn: &mut PgConnection, id: PlacementId) -> Result<()> {
    sqlx::query("update placement set deploy_time = coalesce(deploy_time, $2) where id = $1")
        .bind(id)
        .bind(berth_core::now())
        .execute(conn)
        .await
        .map_err(pg::error)?;
    Ok(())
}
