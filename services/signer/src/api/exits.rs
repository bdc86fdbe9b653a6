//! Voluntary exits: for owners, never for machines.

use super::{Api, convert, pb};
use crate::domain::eth::exit::{SignedVoluntaryExit, VoluntaryExit};
use crate::store::{chains, validators};
use berth_core::{Error, Result, Violations};
use berth_runtime::auth;
use berth_runtime::once::{self, once};
use tonic::Request;

/// Most validators of a chain, by its specification.
const REGISTRY: u64 = 1 << 40;

pub(super) async fn sign(
    api: &Api,
    request: Request<pb::SignVoluntaryExitRequest>,
) -> Result<pb::SignVoluntaryExitResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let mut violations = Violations::default();
    violations.absorb(once::check(&request.request_id))?;
    let public_key = convert::confirmed(&request.public_key, &request.confirmation);
    let public_key = violations.absorb(public_key)?;
    if request.validator_index >= REGISTRY {
        violations.add("validator_index", "is beyond what a chain can hold");
    }
    let public_key = violations.finish(public_key)?;
    let mut conn = api.connection().await?;
    let validator = validators::get(&mut conn, account, &public_key).await?;
    let chain = chains::get(&mut conn, &validator.chain).await?;
    drop(conn);
    let message = VoluntaryExit {
        epoch: request.epoch,
        validator_index: request.validator_index,
    };
    let root = message
        .signing_root(&chain, api.now()?)
        .map_err(|refusal| Error::precondition(refusal.reason.name(), refusal.to_string()))?;
    let key = api.keys.get(&public_key).await?;
    once(
        &api.db,
        account,
        &request.request_id,
        &request,
        async |_| Ok(public_key),
    )
    .await?;
    tracing::warn!(
        %account,
        validator = %public_key,
        epoch = message.epoch,
        "its owner had a voluntary exit signed"
    );
    let signature = key.sign(&root);
    let signed = SignedVoluntaryExit { message, signature };
    Ok(pb::SignVoluntaryExitResponse {
        signed_exit: serde_json::to_string(&signed).map_err(Error::internal)?,
    })
}
