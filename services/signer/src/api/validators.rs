//! Validator calls: read the request, decide, store, answer.

use super::{Api, convert, pb};
use crate::domain::PublicKey;
use crate::domain::validator::Event;
use crate::keys;
use crate::store::validators as store;
use berth_core::{AccountId, Error, Resource, Result};
use berth_runtime::once::{once, repeats};
use berth_runtime::page::Page;
use berth_runtime::{auth, wire};
use tonic::Request;

pub(super) async fn get(
    api: &Api,
    request: Request<pb::GetValidatorRequest>,
) -> Result<pb::GetValidatorResponse> {
    let account = auth::account(&request)?;
    let key = wire::parse("public_key", &request.get_ref().public_key)?;
    let validator = read(api, account, &key).await?;
    Ok(pb::GetValidatorResponse { validator })
}

pub(super) async fn list(
    api: &Api,
    request: Request<pb::ListValidatorsRequest>,
) -> Result<pb::ListValidatorsResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let page = Page::parse(request.page_size, &request.page_token)?;
    let node = wire::parse_optional("node_id", &request.node_id)?;
    let rows = store::list(&mut *api.connection().await?, account, node, &page).await?;
    let (rows, next_page_token) = page.cut(rows, |row| row.public_key.to_string());
    Ok(pb::ListValidatorsResponse {
        validators: rows.into_iter().map(Into::into).collect(),
        next_page_token,
    })
}

pub(super) async fn update(
    api: &Api,
    request: Request<pb::UpdateValidatorRequest>,
) -> Result<pb::UpdateValidatorResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let edit = convert::edit(&request)?;
    let etag = request.validator.as_ref().map_or("", |one| &one.etag);
    let key = once(
        &api.db,
        account,
        &request.request_id,
        &request,
        async |txn| {
            let before = store::lock(txn, account, &edit.public_key).await?;
            wire::check_etag(Resource::Validator, "validator.etag", etag, before.version)?;
            store::save(txn, &before, &edit.of(&before)).await?;
            Ok(before.public_key)
        },
    )
    .await?;
    let validator = read(api, account, &key).await?;
    Ok(pb::UpdateValidatorResponse { validator })
}

pub(super) async fn disable(
    api: &Api,
    request: Request<pb::DisableValidatorRequest>,
) -> Result<pb::DisableValidatorResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let key: PublicKey = wire::parse("public_key", &request.public_key)?;
    let repeats = repeats(&api.db, account, &request.request_id, &request).await?;
    let withdrawal = api.keys.withdraw(account, &key, repeats).await?;
    let key = once(
        &api.db,
        account,
        &request.request_id,
        &request,
        async |txn| {
            let after = keys::disable(txn, account, &key, &withdrawal).await?;
            Ok(after.public_key)
        },
    )
    .await?;
    withdrawal.remembered()?;
    let validator = read(api, account, &key).await?;
    Ok(pb::DisableValidatorResponse { validator })
}

pub(super) async fn enable(
    api: &Api,
    request: Request<pb::EnableValidatorRequest>,
) -> Result<pb::EnableValidatorResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let key: PublicKey = wire::parse("public_key", &request.public_key)?;
    let event = if request.fresh {
        Event::EnableFresh
    } else {
        Event::Enable
    };
    let released = api.keys.release(account, &key).await?;
    let key = once(
        &api.db,
        account,
        &request.request_id,
        &request,
        async |txn| {
            let after = keys::enable(txn, account, &key, event, released).await?;
            Ok(after.public_key)
        },
    )
    .await?;
    let validator = read(api, account, &key).await?;
    Ok(pb::EnableValidatorResponse { validator })
}

pub(super) async fn remove(
    api: &Api,
    request: Request<pb::RemoveValidatorRequest>,
) -> Result<pb::RemoveValidatorResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let key = convert::confirmed(&request.public_key, &request.confirmation)?;
    let key = once(
        &api.db,
        account,
        &request.request_id,
        &request,
        async |txn| {
            let before = store::lock(txn, account, &key).await?;
            if let Some(node) = before.node_id {
                return Err(Error::precondition(
                    "VALIDATOR_BOUND",
                    format!("{key} is a validator of {node}; retire that node first"),
                ));
            }
            store::save(txn, &before, &before.apply(Event::Remove)?).await?;
            Ok(key)
        },
    )
    .await?;
    // After the commit nothing signs with it; a repeat destroys what is left.
    api.keys.destroy(&key).await?;
    let validator = read(api, account, &key).await?;
    Ok(pb::RemoveValidatorResponse { validator })
}

async fn read(api: &Api, account: AccountId, key: &PublicKey) -> Result<Option<pb::Validator>> {
    let validator = store::get(&mut *api.connection().await?, account, key).await?;
    Ok(Some(validator.into()))
}
