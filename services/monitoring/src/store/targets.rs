//! Queries on `target`.

use super::CHANNEL;
use crate::domain::{Expectation, Signs, Speaker};
use berth_core::{AccountId, Error, Fence, NodeId, PlacementId, Resource, Result};
use berth_runtime::pg;
use sqlx::PgConnection;
use sqlx::types::Json;

/// Which placement speaks for a node, and what is expected of it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Target {
    /// The node.
    pub node_id: NodeId,
    /// Who owns it.
    pub account_id: AccountId,
    /// The current placement.
    pub placement_id: PlacementId,
    /// Its fence.
    pub fence: Fence,
    /// Whether the node is meant to run.
    pub running: bool,
    /// What a healthy node looks like.
    #[sqlx(flatten)]
    pub expectation: Expectation,
    /// How its duty is told, where it is.
    #[sqlx(json(nullable))]
    pub duty: Option<Signs>,
    /// The chain that its validators are on.
    pub chain: String,
    /// Keys of its validators.
    pub public_keys: Vec<String>,
}

/// Stores a target unless a higher fence is known.
///
/// # Errors
///
/// [`Error::Fenced`] when one is, [`Error::NotFound`] when the node belongs to
/// another account.
pub async fn put(conn: &mut PgConnection, target: &Target) -> Result<()> {
    let stored = sqlx::query(
        "insert into target (node_id, account_id, placement_id, fence, running, min_peers,
             max_distance, max_block_age_s, min_disk_free_percent, silence_s, gpu_count,
             duty, chain, public_keys)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
         on conflict (node_id) do update
         set placement_id = excluded.placement_id, fence = excluded.fence,
             running = excluded.running, min_peers = excluded.min_peers,
             max_distance = excluded.max_distance, max_block_age_s = excluded.max_block_age_s,
             min_disk_free_percent = excluded.min_disk_free_percent,
             silence_s = excluded.silence_s, gpu_count = excluded.gpu_count,
             duty = excluded.duty, chain = excluded.chain,
             public_keys = excluded.public_keys, put_time = now()
         where target.fence <= excluded.fence and target.account_id = excluded.account_id",
    )
    .bind(target.node_id)
    .bind(target.account_id)
    .bind(target.placement_id)
    .bind(target.fence)
    .bind(target.running)
    .bind(target.expectation.min_peers)
    .bind(target.expectation.max_distance)
    .bind(target.expectation.max_block_age_s)
    .bind(target.expectation.min_disk_free_percent)
    .bind(target.expectation.silence_s)
    .bind(target.expectation.gpu_count)
    .bind(target.duty.as_ref().map(Json))
    .bind(&target.chain)
    .bind(&target.public_keys)
    .execute(&mut *conn)
    .await
    .map_err(pg::error)?
    .rows_affected();
    if stored == 0 {
        let known = get(&mut *conn, target.account_id, target.node_id).await?;
        return Err(Error::Fenced {
            have: target.fence.get(),
            want: known.fence.get(),
        });
    }
    announce(conn, &[target.node_id]).await
}

/// Forgets a node with all its samples. Succeeds when it is not known.
///
/// # Errors
///
/// Those of the database.
pub async fn delete(conn: &mut PgConnection, node: NodeId) -> Result<()> {
    sqlx::query(
        "with samples as (
             delete from sample where series_id in (select id from series where node_id = $1))
         delete from target where node_id = $1",
    )
    .bind(node)
    .execute(&mut *conn)
    .await
    .map_err(pg::error)?;
    announce(conn, &[node]).await
}

/// The target of a node of an account.
///
/// # Errors
///
/// [`Error::NotFound`] also when it belongs to another account.
pub async fn get(conn: &mut PgConnection, account: AccountId, node: NodeId) -> Result<Target> {
    find(conn, node)
        .await?
        .filter(|target| target.account_id == account)
        .ok_or_else(|| Error::not_found(Resource::Node, node))
}

/// The target of a node, whoever owns it.
///
/// # Errors
///
/// Those of the database.
pub async fn find(conn: &mut PgConnection, node: NodeId) -> Result<Option<Target>> {
    sqlx::query_as(
        "select node_id, account_id, placement_id, fence, running, min_peers, max_distance,
                max_block_age_s, min_disk_free_percent, silence_s, gpu_count, duty, chain,
                public_keys
         from target where node_id = $1",
    )
    .bind(node)
    .fetch_optional(conn)
    .await
    .map_err(pg::error)
}

/// Which placement speaks for a node.
///
/// # Errors
///
/// Those of the database.
pub async fn speaker(conn: &mut PgConnection, node: NodeId) -> Result<Option<Speaker>> {
    sqlx::query_as("select node_id, placement_id, fence from target where node_id = $1")
        .bind(node)
        .fetch_optional(conn)
        .await
        .map_err(pg::error)
}

/// What becomes of targets that another transaction has locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locked {
    /// They are passed over, like those that nobody knows.
    PassOver,
    /// They are waited for, three seconds at most.
    Wait,
}

/// Which placements speak for these nodes, in order of the nodes. Nobody changes
/// that or locks the targets too until the transaction ends.
///
/// # Errors
///
/// Those of the database.
pub async fn lock(
    conn: &mut PgConnection,
    nodes: &[NodeId],
    locked: Locked,
) -> Result<Vec<Speaker>> {
    let lock = match locked {
        Locked::PassOver => {
            "select node_id, placement_id, fence from target where node_id = any($1)
             order by node_id for no key update skip locked"
        }
        Locked::Wait => {
            sqlx::query("set local lock_timeout = '3s'")
                .execute(&mut *conn)
                .await
                .map_err(pg::error)?;
            "select node_id, placement_id, fence from target where node_id = any($1)
             order by node_id for no key update"
        }
    };
    sqlx::query_as(lock)
        .bind(nodes)
        .fetch_all(conn)
        .await
        .map_err(pg::error)
}

/// Most nodes of one notice, which holds fewer than 8,000 bytes.
const NOTICE: usize = 150;

/// Tells whoever watches one of the nodes to look again.
pub(super) async fn announce(conn: &mut PgConnection, nodes: &[NodeId]) -> Result<()> {
    let ids: Vec<_> = nodes.iter().map(NodeId::to_string).collect();
    let notices: Vec<_> = ids.chunks(NOTICE).map(|some| some.join(",")).collect();
    sqlx::query("select pg_notify($1, notice) from unnest($2::text[]) as notice")
        .bind(CHANNEL)
        .bind(notices)
        .execute(conn)
        .await
        .map_err(pg::error)?;
    Ok(())
}
