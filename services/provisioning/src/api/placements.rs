//! What a placement may ask: a new certificate, while it is current.

use super::{Api, pb};
use crate::reconcile::vault_error;
use crate::store;
use berth_core::{Error, Result};
use berth_runtime::auth::{self, Peer};
use berth_runtime::pg;
use tonic::Request;

pub(super) async fn renew(
    api: &Api,
    request: Request<pb::RenewCertificateRequest>,
) -> Result<pb::RenewCertificateResponse> {
    let Peer::Placement {
        node_id,
        placement_id,
        fence,
    } = auth::peer(request.extensions())?.clone()
    else {
        return Err(Error::Forbidden {
            reason: "CALLER_NOT_PERMITTED",
            message: "only a placement renews its certificate".to_owned(),
        });
    };
    let csr = &request.get_ref().csr_pem;
    berth_secrets::check_csr(csr).map_err(|problem| Error::invalid("csr_pem", problem))?;
    let mut conn = api.db.acquire().await.map_err(pg::error)?;
    let placement = store::placements::get(&mut conn, placement_id).await?;
    drop(conn);
    placement.check_current(node_id, fence)?;
    let (node, placement) = (node_id.to_string(), placement_id.to_string());
    let certificate_pem = api
        .vault
        .sign_placement_csr(csr, &node, &placement, fence.get())
        .await
        .map_err(vault_error)?;
    Ok(pb::RenewCertificateResponse { certificate_pem })
}
