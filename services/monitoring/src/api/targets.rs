//! Target calls, which provisioning makes.

use super::{Api, convert, pb};
use crate::store::targets;
use berth_core::{NodeId, Result};
use berth_runtime::{pg, wire};
use tonic::Request;

pub(super) async fn put(
    api: &Api,
    request: Request<pb::PutTargetRequest>,
) -> Result<pb::PutTargetResponse> {
    let target = convert::target(request.get_ref())?;
    let mut conn = api.db.acquire().await.map_err(pg::error)?;
    targets::put(&mut conn, &target).await?;
    Ok(pb::PutTargetResponse {})
}

pub(super) async fn delete(
    api: &Api,
    request: Request<pb::DeleteTargetRequest>,
) -> Result<pb::DeleteTargetResponse> {
    let node: NodeId = wire::parse("node_id", &request.get_ref().node_id)?;
    let mut conn = api.db.acquire().await.map_err(pg::error)?;
    targets::delete(&mut conn, node).await?;
    Ok(pb::DeleteTargetResponse {})
}
