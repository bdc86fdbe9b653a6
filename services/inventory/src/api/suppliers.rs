//! Supplier calls: read the request, decide, store, answer.

use super::{Api, pb};
use crate::store::suppliers as store;
use berth_core::{AccountId, Name, Result, SupplierId};
use berth_runtime::once::once;
use berth_runtime::page::Page;
use berth_runtime::{auth, wire};
use sqlx::PgConnection;
use tonic::Request;

pub(super) async fn create(
    api: &Api,
    request: Request<pb::CreateSupplierRequest>,
) -> Result<pb::CreateSupplierResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let name: Name = wire::parse("name", &request.name)?;
    let id = once(
        &api.db,
        account,
        &request.request_id,
        &request,
        async |txn| {
            let id = SupplierId::generate();
            store::insert(txn, account, id, &name).await?;
            Ok(id)
        },
    )
    .await?;
    let supplier = store::get(&mut *api.connection().await?, account, id).await?;
    Ok(pb::CreateSupplierResponse {
        supplier: Some(supplier.into()),
    })
}

pub(super) async fn get(
    api: &Api,
    request: Request<pb::GetSupplierRequest>,
) -> Result<pb::GetSupplierResponse> {
    let account = auth::account(&request)?;
    let mut conn = api.connection().await?;
    let id = find(
        &mut conn,
        account,
        "supplier_id",
        &request.get_ref().supplier_id,
    )
    .await?;
    let supplier = store::get(&mut conn, account, id).await?;
    Ok(pb::GetSupplierResponse {
        supplier: Some(supplier.into()),
    })
}

pub(super) async fn list(
    api: &Api,
    request: Request<pb::ListSuppliersRequest>,
) -> Result<pb::ListSuppliersResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let page = Page::parse(request.page_size, &request.page_token)?;
    let rows = store::list(&mut *api.connection().await?, account, &page).await?;
    let (rows, next_page_token) = page.cut(rows, |row| row.id.uuid().to_string());
    Ok(pb::ListSuppliersResponse {
        suppliers: rows.into_iter().map(Into::into).collect(),
        next_page_token,
    })
}

/// The supplier of the account that an identifier or a name means.
pub(super) async fn find(
    conn: &mut PgConnection,
    account: AccountId,
    field: &str,
    text: &str,
) -> Result<SupplierId> {
    if let Ok(id) = text.parse() {
        return Ok(store::get(conn, account, id).await?.id);
    }
    let name: Name = wire::parse(field, text)?;
    store::find(conn, account, &name).await
}
