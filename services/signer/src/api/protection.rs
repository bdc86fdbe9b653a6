//! What was signed, as interchanges.

use super::{Api, convert, pb};
use crate::domain::interchange;
use crate::keys::Extent;
use crate::store::{chains, history};
use berth_core::{Name, Result, Violations};
use berth_runtime::once::once;
use berth_runtime::{auth, wire};
use tonic::Request;

/// Most validators of a file.
const EXPORTED: usize = 1000;

pub(super) async fn export(
    api: &Api,
    request: Request<pb::ExportProtectionRequest>,
) -> Result<pb::ExportProtectionResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let mut violations = Violations::default();
    let keys = convert::public_keys(&mut violations, &request.public_keys, EXPORTED);
    let name: Option<Name> = violations.absorb(wire::parse("chain", &request.chain))?;
    let name = violations.finish(name)?;
    let chain = chains::get(&mut *api.connection().await?, name.as_str()).await?;
    let extent = if request.minified {
        Extent::Minified
    } else {
        Extent::Complete
    };
    let interchange = api.keys.export(account, &chain, &keys, extent).await?;
    Ok(pb::ExportProtectionResponse { interchange })
}

pub(super) async fn import(
    api: &Api,
    request: Request<pb::ImportProtectionRequest>,
) -> Result<pb::ImportProtectionResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let name: Name = wire::parse("chain", &request.chain)?;
    let chain = chains::get(&mut *api.connection().await?, name.as_str()).await?;
    let imported = interchange::parse(&request.interchange, chain.genesis_validators_root)?;
    let validators: u32 = once(
        &api.db,
        account,
        &request.request_id,
        &request,
        async |txn| {
            let raised = history::raise(txn, account, &chain.name, &imported).await?;
            Ok(u32::try_from(raised).unwrap_or(u32::MAX))
        },
    )
    .await?;
    Ok(pb::ImportProtectionResponse { validators })
}
