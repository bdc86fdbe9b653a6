//! Calls about what accounts should know.

use super::{Api, convert, pb};
use crate::store::events as store;
use berth_core::Result;
use berth_runtime::page::Page;
use berth_runtime::{auth, wire};
use tonic::Request;

pub(super) async fn list(
    api: &Api,
    request: Request<pb::ListAccountEventsRequest>,
) -> Result<pb::ListAccountEventsResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let page = Page::parse(request.page_size, &request.page_token)?;
    let lease = wire::parse_optional("lease_id", &request.lease_id)?;
    let rows = store::list(&mut *api.connection().await?, account, lease, &page).await?;
    let (rows, next_page_token) = page.cut(rows, |row| row.id.uuid().to_string());
    Ok(pb::ListAccountEventsResponse {
        events: rows.into_iter().map(convert::event).collect(),
        next_page_token,
    })
}
