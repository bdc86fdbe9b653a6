//! Voluntary exits: for owners, never for machines.

use super::{Api, pb};
use crate::domain::PublicKey;
use crate::domain::eth::exit::{SignedVoluntaryExit, VoluntaryExit};
use crate::store::{chains, validators};
use berth_core::{Error, Result, Violations};
use berth_runtime::once::once;
use berth_runtime::{auth, wire};
use tonic::Request;

pub(super) async fn sign(
    api: &Api,
    request: Request<pb::SignVoluntaryExitRequest>,
) -> Result<pb::SignVoluntaryExitResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let public_key = confirmed(&request)?;
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

/// The public key, typed twice.
fn confirmed(request: &pb::SignVoluntaryExitRequest) -> Result<PublicKey> {
    let mut violations = Violations::default();
    let key = violations.absorb(wire::parse("public_key", &request.public_key))?;
    let typed = violations.absorb(wire::parse("confirmation", &request.confirmation))?;
    if key.is_some() && typed.is_some() && typed != key {
        violations.add("confirmation", "is not the public key");
    }
    violations.finish(key)
}
