//! Machine calls: read the request, decide, store, answer.

use super::{Api, convert, pb, suppliers};
use crate::domain::{Event, Machine};
use crate::store::{machines as store, offers};
use berth_core::{AccountId, Error, MachineId, Name, Resource, Result, now};
use berth_runtime::once::once;
use berth_runtime::page::Page;
use berth_runtime::{auth, wire};
use sqlx::PgConnection;
use tonic::Request;

/// Where requests name a machine.
const FIELD: &str = "machine_id";

pub(super) async fn enroll(
    api: &Api,
    request: Request<pb::EnrollMachineRequest>,
) -> Result<pb::EnrollMachineResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let stated = convert::stated(&request)?;
    let id = once(
        &api.db,
        account,
        &request.request_id,
        &request,
        async |txn| {
            let supplier =
                suppliers::find(txn, account, "spec.supplier_id", &stated.supplier).await?;
            store::enroll(txn, account, &stated.machine(supplier), now()).await
        },
    )
    .await?;
    let machine = read(api, account, id).await?;
    Ok(pb::EnrollMachineResponse { machine })
}

pub(super) async fn get(
    api: &Api,
    request: Request<pb::GetMachineRequest>,
) -> Result<pb::GetMachineResponse> {
    let account = auth::account(&request)?;
    let mut conn = api.connection().await?;
    let id = find(&mut conn, account, FIELD, &request.get_ref().machine_id).await?;
    let machine = store::get(&mut conn, account, id).await?;
    Ok(pb::GetMachineResponse {
        machine: Some(machine.into()),
    })
}

pub(super) async fn list(
    api: &Api,
    request: Request<pb::ListMachinesRequest>,
) -> Result<pb::ListMachinesResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let page = Page::parse(request.page_size, &request.page_token)?;
    let state = convert::state("state", request.state)?;
    let rows = store::list(&mut *api.connection().await?, account, state, &page).await?;
    let (rows, next_page_token) = page.cut(rows, |row| row.id.uuid().to_string());
    Ok(pb::ListMachinesResponse {
        machines: rows.into_iter().map(Into::into).collect(),
        next_page_token,
    })
}

pub(super) async fn update(
    api: &Api,
    request: Request<pb::UpdateMachineRequest>,
) -> Result<pb::UpdateMachineResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let edit = convert::edit(&request)?;
    let id = once(
        &api.db,
        account,
        &request.request_id,
        &request,
        async |txn| {
            let machine = lock(txn, account, &request.machine_id).await?;
            wire::check_etag(Resource::Machine, "etag", &request.etag, machine.version)?;
            save(txn, &machine, machine.edit(edit, now())?).await
        },
    )
    .await?;
    let machine = read(api, account, id).await?;
    Ok(pb::UpdateMachineResponse { machine })
}

pub(super) async fn verify(
    api: &Api,
    request: Request<pb::VerifyMachineRequest>,
) -> Result<pb::VerifyMachineResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let id = once(
        &api.db,
        account,
        &request.request_id,
        &request,
        async |txn| take(txn, account, &request.machine_id, Event::Verify).await,
    )
    .await?;
    let machine = read(api, account, id).await?;
    Ok(pb::VerifyMachineResponse { machine })
}

pub(super) async fn cordon(
    api: &Api,
    request: Request<pb::CordonMachineRequest>,
) -> Result<pb::CordonMachineResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let id = once(
        &api.db,
        account,
        &request.request_id,
        &request,
        async |txn| take(txn, account, &request.machine_id, Event::Cordon).await,
    )
    .await?;
    let machine = read(api, account, id).await?;
    Ok(pb::CordonMachineResponse { machine })
}

pub(super) async fn uncordon(
    api: &Api,
    request: Request<pb::UncordonMachineRequest>,
) -> Result<pb::UncordonMachineResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let id = once(
        &api.db,
        account,
        &request.request_id,
        &request,
        async |txn| take(txn, account, &request.machine_id, Event::Uncordon).await,
    )
    .await?;
    let machine = read(api, account, id).await?;
    Ok(pb::UncordonMachineResponse { machine })
}

pub(super) async fn retire(
    api: &Api,
    request: Request<pb::RetireMachineRequest>,
) -> Result<pb::RetireMachineResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let id = once(
        &api.db,
        account,
        &request.request_id,
        &request,
        async |txn| {
            let machine = lock(txn, account, &request.machine_id).await?;
            let retired = machine.apply(Event::Retire, now())?;
            offers::close_of(txn, account, machine.id).await?;
            save(txn, &machine, retired).await
        },
    )
    .await?;
    let machine = read(api, account, id).await?;
    Ok(pb::RetireMachineResponse { machine })
}

async fn take(
    txn: &mut PgConnection,
    account: AccountId,
    text: &str,
    event: Event,
) -> Result<MachineId> {
    let machine = lock(txn, account, text).await?;
    let after = machine.apply(event, now())?;
    save(txn, &machine, after).await
}

async fn save(txn: &mut PgConnection, before: &Machine, after: Machine) -> Result<MachineId> {
    store::save(txn, before, &after).await?;
    Ok(after.id)
}

async fn lock(txn: &mut PgConnection, account: AccountId, text: &str) -> Result<Machine> {
    let id = find(txn, account, FIELD, text).await?;
    store::lock(txn, id).await
}

async fn read(api: &Api, account: AccountId, id: MachineId) -> Result<Option<pb::Machine>> {
    let machine = store::get(&mut *api.connection().await?, account, id).await?;
    Ok(Some(machine.into()))
}

/// The machine of the account that an identifier or a name means.
pub(super) async fn find(
    conn: &mut PgConnection,
    account: AccountId,
    field: &str,
    text: &str,
) -> Result<MachineId> {
    if let Ok(id) = text.parse() {
        return Ok(store::get(conn, account, id).await?.id);
    }
    let name: Name = wire::parse(field, text)?;
    match store::named(conn, account, &name).await?.as_slice() {
        [] => Err(Error::not_found(Resource::Machine, name)),
        [id] => Ok(*id),
        _ => Err(Error::invalid(
            field,
            format!("several suppliers have a machine `{name}`; give its identifier"),
        )),
    }
}
