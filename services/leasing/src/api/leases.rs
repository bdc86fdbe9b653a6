//! Lease calls: read the request, decide, store, answer.

use super::{Api, convert, pb};
use crate::domain::Lease;
use crate::life::{self, Placed, WORK};
use crate::store::{events, leases as store};
use berth_core::{AccountId, LeaseId, Resource, Result, now, report};
use berth_runtime::once::once;
use berth_runtime::page::Page;
use berth_runtime::{auth, reconcile, wire};
use sqlx::PgConnection;
use std::collections::BTreeMap;
use std::time::Duration;
use tonic::Request;

/// When the reconciler takes a new lease up, should the call that made it not
/// have settled it.
const ABANDONED: Duration = Duration::from_secs(10);

pub(super) async fn create(
    api: &Api,
    request: Request<pb::CreateLeaseRequest>,
) -> Result<pb::CreateLeaseResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let new = convert::new_lease(account, request.spec.as_ref())?;
    let id: LeaseId = once(
        &api.db,
        account,
        &request.request_id,
        &request,
        async |txn| {
            let id = store::insert(txn, &new, now()).await?;
            reconcile::wake_after(txn, WORK, id.uuid(), ABANDONED).await?;
            Ok(id)
        },
    )
    .await?;

    // Outside of any transaction; the reconciler finishes what stays undone.
    match life::place(&api.db, &api.inventory, id).await {
        Ok(Placed::Settled) => {}
        Ok(Placed::Refused(error)) => return Err(error),
        Err(error) if error.is_transient() => {
            tracing::info!(lease = %id, error = report(&error), "the lease stays pending");
        }
        Err(error) => return Err(error),
    }
    let lease = store::get(&mut *api.connection().await?, account, id).await?;
    // Refused by another call that carried the same request.
    if let Some(error) = lease.refusal() {
        return Err(error);
    }
    Ok(pb::CreateLeaseResponse {
        lease: Some(convert::lease(lease, Vec::new(), now())),
    })
}

pub(super) async fn get(
    api: &Api,
    request: Request<pb::GetLeaseRequest>,
) -> Result<pb::GetLeaseResponse> {
    let account = auth::account(&request)?;
    let id = wire::parse("lease_id", &request.get_ref().lease_id)?;
    let lease = read(api, account, id).await?;
    Ok(pb::GetLeaseResponse { lease })
}

pub(super) async fn list(
    api: &Api,
    request: Request<pb::ListLeasesRequest>,
) -> Result<pb::ListLeasesResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let page = Page::parse(request.page_size, &request.page_token)?;
    let state = convert::state("state", request.state)?;
    let mut conn = api.connection().await?;
    let rows = store::list(&mut conn, account, state, &page).await?;
    let (rows, next_page_token) = page.cut(rows, |row| row.id.uuid().to_string());
    Ok(pb::ListLeasesResponse {
        leases: with_warnings(&mut conn, account, rows).await?,
        next_page_token,
    })
}

pub(super) async fn extend(
    api: &Api,
    request: Request<pb::ExtendLeaseRequest>,
) -> Result<pb::ExtendLeaseResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let (id, by) = convert::extension(&request)?;
    let id = once(
        &api.db,
        account,
        &request.request_id,
        &request,
        async |txn| {
            store::get(txn, account, id).await?;
            let before = store::lock(txn, id).await?;
            wire::check_etag(Resource::Lease, "etag", &request.etag, before.version)?;
            store::save(txn, &before, &before.extend(by, now())?).await?;
            Ok(id)
        },
    )
    .await?;
    let lease = read(api, account, id).await?;
    Ok(pb::ExtendLeaseResponse { lease })
}

pub(super) async fn end(
    api: &Api,
    request: Request<pb::EndLeaseRequest>,
) -> Result<pb::EndLeaseResponse> {
    let account = auth::account(&request)?;
    let peer = auth::peer(request.extensions()).ok().cloned();
    let request = request.into_inner();
    let id: LeaseId = wire::parse("lease_id", &request.lease_id)?;
    let (reason, message) = convert::end_reason(request.reason, peer.as_ref())?;
    let id = once(
        &api.db,
        account,
        &request.request_id,
        &request,
        async |txn| {
            store::get(txn, account, id).await?;
            reconcile::wake(txn, WORK, id.uuid()).await?;
            let before = store::lock(txn, id).await?;
            wire::check_etag(Resource::Lease, "etag", &request.etag, before.version)?;
            life::end(txn, &before, reason, message.to_owned()).await?;
            Ok(id)
        },
    )
    .await?;
    let lease = read(api, account, id).await?;
    Ok(pb::EndLeaseResponse { lease })
}

async fn read(api: &Api, account: AccountId, id: LeaseId) -> Result<Option<pb::Lease>> {
    let mut conn = api.connection().await?;
    let lease = store::get(&mut conn, account, id).await?;
    let mut leases = with_warnings(&mut conn, account, vec![lease]).await?;
    Ok(leases.pop())
}

async fn with_warnings(
    conn: &mut PgConnection,
    account: AccountId,
    leases: Vec<Lease>,
) -> Result<Vec<pb::Lease>> {
    let ids: Vec<_> = leases.iter().map(|lease| lease.id).collect();
    let mut warnings: BTreeMap<LeaseId, Vec<String>> = BTreeMap::new();
    for (lease, warning) in events::warnings(conn, account, &ids).await? {
        warnings.entry(lease).or_default().push(warning);
    }
    let now = now();
    let lease = |lease: Lease| {
        let warnings = warnings.remove(&lease.id).unwrap_or_default();
        convert::lease(lease, warnings, now)
    };
    Ok(leases.into_iter().map(lease).collect())
}
