//! Incident calls.

use super::{Api, convert, pb};
use crate::store::incidents;
use berth_core::{IncidentId, Resource, Result, now};
use berth_runtime::once::once;
use berth_runtime::page::Page;
use berth_runtime::{auth, pg, wire};
use tonic::Request;

pub(super) async fn list(
    api: &Api,
    request: Request<pb::ListIncidentsRequest>,
) -> Result<pb::ListIncidentsResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let page = Page::parse(request.page_size, &request.page_token)?;
    let node = wire::parse_optional("node_id", &request.node_id)?;
    let mut conn = api.db.acquire().await.map_err(pg::error)?;
    let rows = incidents::list(&mut conn, account, node, request.show_resolved, &page).await?;
    let (rows, next_page_token) = page.cut(rows, |row| row.id.uuid().to_string());
    Ok(pb::ListIncidentsResponse {
        incidents: rows.into_iter().map(convert::incident).collect(),
        next_page_token,
    })
}

pub(super) async fn acknowledge(
    api: &Api,
    request: Request<pb::AcknowledgeIncidentRequest>,
) -> Result<pb::AcknowledgeIncidentResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let id: IncidentId = wire::parse("incident_id", &request.incident_id)?;
    let id = once(
        &api.db,
        account,
        &request.request_id,
        &request,
        async |txn| {
            let before = incidents::lock(txn, account, id).await?;
            wire::check_etag(Resource::Incident, "etag", &request.etag, before.version)?;
            let state = before.state.acknowledge()?;
            incidents::acknowledge(txn, &before, state, now()).await?;
            Ok(id)
        },
    )
    .await?;
    let mut conn = api.db.acquire().await.map_err(pg::error)?;
    let incident = incidents::get(&mut conn, account, id).await?;
    Ok(pb::AcknowledgeIncidentResponse {
        incident: Some(convert::incident(incident)),
    })
}
