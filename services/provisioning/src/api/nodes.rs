//! Nodes: reading them, and what their owner wants of them.

use super::{Api, convert, launch, pb};
use crate::catalogue;
use crate::domain::{Event, Node, Placement, State, Upgrade};
use crate::store::placements::Place;
use crate::{reconcile, store};
use berth_core::{AccountId, Error, Name, NodeId, Resource, Result};
use berth_runtime::once::once;
use berth_runtime::page::Page;
use berth_runtime::reconcile::wake;
use berth_runtime::{auth, pg, wire};
use sqlx::PgConnection;
use tonic::Request;

pub(super) async fn get(
    api: &Api,
    request: Request<pb::GetNodeRequest>,
) -> Result<pb::GetNodeResponse> {
    let account = auth::account(&request)?;
    let mut conn = api.db.acquire().await.map_err(pg::error)?;
    let node = find(&mut conn, account, &request.get_ref().node_id).await?;
    Ok(pb::GetNodeResponse {
        node: Some(described(&mut conn, &node).await?),
    })
}

pub(super) async fn list(
    api: &Api,
    request: Request<pb::ListNodesRequest>,
) -> Result<pb::ListNodesResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let page = Page::parse(request.page_size, &request.page_token)?;
    let mut conn = api.db.acquire().await.map_err(pg::error)?;
    let rows = store::nodes::list(&mut conn, account, &page, request.show_retired).await?;
    let (rows, next_page_token) = page.cut(rows, |node| node.id.uuid().to_string());
    Ok(pb::ListNodesResponse {
        nodes: shown(&mut conn, &rows).await?,
        next_page_token,
    })
}

pub(super) async fn update(
    api: &Api,
    request: Request<pb::UpdateNodeRequest>,
) -> Result<pb::UpdateNodeResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let mask = wire::required("update_mask", request.update_mask.as_ref())?;
    if mask.paths != ["settings"] {
        return Err(Error::invalid("update_mask", "only `settings` can change"));
    }
    let settings = &wire::required("spec", request.spec.as_ref())?.settings;
    let id: NodeId = once(
        &api.db,
        account,
        &request.request_id,
        &request,
        async |txn| {
            let node = take(txn, account, &request.node_id).await?;
            wire::check_etag(Resource::Node, "etag", &request.etag, node.version)?;
            if *settings == node.settings {
                return Ok(node.id);
            }
            refuse_upgrading(txn, &node).await?;
            let chain = store::chains::revision(txn, &node.chain_id, node.chain_revision).await?;
            let entry = catalogue::entry(&chain)?;
            launch::check_settings(&entry, node.role, settings, node.name.as_str())?;
            let node = store::nodes::set_settings(txn, &node, settings).await?;
            relaunch(txn, &node, Event::Reconfigure, "its settings changed").await
        },
    )
    .await?;
    Ok(pb::UpdateNodeResponse {
        node: Some(answer(api, account, id).await?),
    })
}

pub(super) async fn stop(
    api: &Api,
    request: Request<pb::StopNodeRequest>,
) -> Result<pb::StopNodeResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let id: NodeId = once(
        &api.db,
        account,
        &request.request_id,
        &request,
        async |txn| {
            let node = take(txn, account, &request.node_id).await?;
            store::nodes::apply(txn, &node, Event::Stop, "").await?;
            Ok(node.id)
        },
    )
    .await?;
    Ok(pb::StopNodeResponse {
        node: Some(answer(api, account, id).await?),
    })
}

pub(super) async fn start(
    api: &Api,
    request: Request<pb::StartNodeRequest>,
) -> Result<pb::StartNodeResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let id: NodeId = once(
        &api.db,
        account,
        &request.request_id,
        &request,
        async |txn| {
            let node = take(txn, account, &request.node_id).await?;
            relaunch(txn, &node, Event::Start, "").await
        },
    )
    .await?;
    Ok(pb::StartNodeResponse {
        node: Some(answer(api, account, id).await?),
    })
}

/// A node that is tried again runs the newest revision of its chain: the person
/// may have put right what was wrong with the last.
pub(super) async fn retry(
    api: &Api,
    request: Request<pb::RetryNodeRequest>,
) -> Result<pb::RetryNodeResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let id: NodeId = once(
        &api.db,
        account,
        &request.request_id,
        &request,
        async |txn| {
            let node = take(txn, account, &request.node_id).await?;
            node.apply(Event::Retry)?;
            let chain = store::chains::get(txn, &node.chain_id).await?;
            launch::check(&chain, node.role, &node.settings, node.name.as_str())?;
            let node = store::nodes::set_revision(txn, &node, chain.revision).await?;
            store::nodes::apply(txn, &node, Event::Retry, "").await?;
            Ok(node.id)
        },
    )
    .await?;
    Ok(pb::RetryNodeResponse {
        node: Some(answer(api, account, id).await?),
    })
}

pub(super) async fn retire(
    api: &Api,
    request: Request<pb::RetireNodeRequest>,
) -> Result<pb::RetireNodeResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let id: NodeId = once(
        &api.db,
        account,
        &request.request_id,
        &request,
        async |txn| {
            let node = take(txn, account, &request.node_id).await?;
            store::nodes::apply(txn, &node, Event::Retire, "").await?;
            Ok(node.id)
        },
    )
    .await?;
    Ok(pb::RetireNodeResponse {
        node: Some(answer(api, account, id).await?),
    })
}

/// Launches a node again where it is, under the next fence, if the event does so.
async fn relaunch(txn: &mut PgConnection, node: &Node, event: Event, why: &str) -> Result<NodeId> {
    let after = store::nodes::apply(txn, node, event, why).await?;
    if after.version == node.version || after.state != State::Launching {
        return Ok(node.id);
    }
    let Some(here) = store::placements::current(txn, node.id).await? else {
        return Err(Error::internal("a node to be launched has no placement"));
    };
    store::placements::advance(txn, &after, &Place::from(&here)).await?;
    Ok(node.id)
}

/// Finds a node by identifier or name.
pub(super) async fn find(
    conn: &mut PgConnection,
    account: AccountId,
    node_id: &str,
) -> Result<Node> {
    if let Ok(id) = node_id.parse::<NodeId>() {
        return store::nodes::get(conn, account, id).await;
    }
    let name: Name = wire::parse("node_id", node_id)?;
    store::nodes::get_by_name(conn, account, &name).await
}

/// Finds a node that is about to change, wakes its work, and locks both.
pub(super) async fn take(
    txn: &mut PgConnection,
    account: AccountId,
    node_id: &str,
) -> Result<Node> {
    let node = find(txn, account, node_id).await?;
    wake(txn, reconcile::NODE, node.id.uuid()).await?;
    store::nodes::lock(txn, node.id).await
}

/// The node as callers see it.
pub(super) async fn answer(api: &Api, account: AccountId, id: NodeId) -> Result<pb::Node> {
    let mut conn = api.db.acquire().await.map_err(pg::error)?;
    let node = store::nodes::get(&mut conn, account, id).await?;
    described(&mut conn, &node).await
}

/// Refuses a change of a node that is being upgraded.
pub(super) async fn refuse_upgrading(conn: &mut PgConnection, node: &Node) -> Result<()> {
    match store::upgrades::last(conn, node.id).await? {
        Some(upgrade) if upgrade.state.is_open() => Err(Error::precondition(
            "UPGRADE_OPEN",
            format!(
                "node `{}` is being upgraded from version {} to {}: wait until that is over",
                node.name, upgrade.from.version, upgrade.to.version
            ),
        )),
        Some(_) | None => Ok(()),
    }
}

/// What is shown with a node and kept elsewhere.
#[derive(Default)]
pub(super) struct Beside {
    /// The placement with its highest fence.
    pub(super) placement: Option<Placement>,
    /// The version that it runs.
    pub(super) version: String,
    /// Its last upgrade.
    pub(super) upgrade: Option<Upgrade>,
}

/// The node with what is shown beside it.
pub(super) async fn described(conn: &mut PgConnection, node: &Node) -> Result<pb::Node> {
    let shown = shown(conn, std::slice::from_ref(node)).await?;
    shown
        .into_iter()
        .next()
        .ok_or_else(|| Error::internal("a node is not shown"))
}

async fn shown(conn: &mut PgConnection, nodes: &[Node]) -> Result<Vec<pb::Node>> {
    let ids: Vec<NodeId> = nodes.iter().map(|node| node.id).collect();
    let placements = store::placements::latest_of(conn, &ids).await?;
    let mut versions = store::chains::releases_of(conn, &ids).await?;
    let mut upgrades = store::upgrades::last_of(conn, &ids).await?;
    let mut beside = |id: NodeId| Beside {
        placement: placements.iter().find(|p| p.node_id == id).cloned(),
        version: versions.remove(&id).unwrap_or_default(),
        upgrade: upgrades.remove(&id),
    };
    Ok(nodes
        .iter()
        .map(|node| convert::node(node, &beside(node.id)))
        .collect())
}
