//! What provisioning says: chains, validators of nodes, fences and grants. Each
//! call may come again.

use super::{Api, convert, pb};
use crate::domain::pin;
use crate::store::{bindings, chains, fences};
use berth_core::{Result, Violations};
use berth_runtime::{pg, wire};
use tonic::Request;

pub(super) async fn put_chain(
    api: &Api,
    request: Request<pb::PutChainRequest>,
) -> Result<pb::PutChainResponse> {
    let asked = convert::chain(request.get_ref().chain.as_ref())?;
    let mut txn = api.db.begin().await.map_err(pg::error)?;
    let known = chains::pin(&mut txn, &asked).await?;
    if pin::repin(&known, &asked)? {
        chains::set_forks(&mut txn, &asked).await?;
    }
    txn.commit().await.map_err(pg::error)?;
    Ok(pb::PutChainResponse {})
}

pub(super) async fn bind(
    api: &Api,
    request: Request<pb::BindValidatorsRequest>,
) -> Result<pb::BindValidatorsResponse> {
    let binding = convert::binding(request.get_ref())?;
    let mut txn = api.db.begin().await.map_err(pg::error)?;
    bindings::bind(&mut txn, &binding).await?;
    txn.commit().await.map_err(pg::error)?;
    Ok(pb::BindValidatorsResponse {})
}

pub(super) async fn advance(
    api: &Api,
    request: Request<pb::AdvanceFenceRequest>,
) -> Result<pb::AdvanceFenceResponse> {
    let request = request.into_inner();
    let mut violations = Violations::default();
    let account = violations.absorb(wire::parse("account_id", &request.account_id))?;
    let node = violations.absorb(wire::parse("node_id", &request.node_id))?;
    let fence = violations.absorb(convert::fence(request.fence))?;
    let ((account, node), fence) = violations.finish(account.zip(node).zip(fence))?;
    let mut txn = api.db.begin().await.map_err(pg::error)?;
    fences::advance(&mut txn, account, node, fence).await?;
    txn.commit().await.map_err(pg::error)?;
    Ok(pb::AdvanceFenceResponse { fence: fence.get() })
}

pub(super) async fn grant(
    api: &Api,
    request: Request<pb::GrantRequest>,
) -> Result<pb::GrantResponse> {
    let request = request.into_inner();
    let mut violations = Violations::default();
    let node = violations.absorb(wire::parse("node_id", &request.node_id))?;
    let fence = violations.absorb(convert::fence(request.fence))?;
    let (node, fence) = violations.finish(node.zip(fence))?;
    let mut txn = api.db.begin().await.map_err(pg::error)?;
    fences::grant(&mut txn, node, fence).await?;
    txn.commit().await.map_err(pg::error)?;
    Ok(pb::GrantResponse {})
}
