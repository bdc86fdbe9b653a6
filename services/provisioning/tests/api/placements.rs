//! What a placement may ask.

use crate::site::csr;
use crate::support::Whole;
use berth_core::{Fence, NodeId, PlacementId};
use berth_proto::provisioning::v1 as pb;
use berth_proto::provisioning::v1::node_status::State;
use berth_proto::provisioning::v1::placement_service_server::PlacementService as _;
use berth_provisioning::store::{MIGRATIONS, placements};
use berth_runtime::auth::Peer;
use sqlx::PgPool;
use tonic::{Code, Request, Status};

async fn renew(all: &Whole, peer: Peer, csr_pem: String) -> Result<String, Status> {
    let mut request = Request::new(pb::RenewCertificateRequest { csr_pem });
    request.extensions_mut().insert(peer);
    let answer = all.api.renew_certificate(request).await?;
    Ok(answer.into_inner().certificate_pem)
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_certificate_is_renewed_only_for_the_current_placement(db: PgPool) {
    let all = Whole::new(db).await;
    crate::support::launch(&all.api, all.account, "n1").await;
    let node = all.until_state("n1", State::Launching).await;
    let placement = node.status.unwrap().placement.unwrap();
    let node_id: NodeId = node.id.parse().unwrap();
    let placement_id: PlacementId = placement.id.parse().unwrap();
    let peer = |fence| Peer::Placement {
        node_id,
        placement_id,
        fence,
    };

    let renewed = renew(&all, peer(Fence::FIRST), csr()).await.unwrap();
    let named = Peer::from_certificate(&der(&renewed));
    assert_eq!(named, Some(peer(Fence::FIRST)));

    let bad = renew(&all, peer(Fence::FIRST), "no request".to_owned())
        .await
        .unwrap_err();
    assert_eq!(bad.code(), Code::InvalidArgument);
    let newer = renew(&all, peer(Fence::FIRST.next()), csr())
        .await
        .unwrap_err();
    assert_eq!(newer.code(), Code::FailedPrecondition);
    let mut conn = all.api.db.acquire().await.unwrap();
    placements::fence(&mut conn, node_id).await.unwrap();
    let fenced = renew(&all, peer(Fence::FIRST), csr()).await.unwrap_err();
    assert_eq!(fenced.code(), Code::FailedPrecondition);
    let service = renew(&all, Peer::Service("gateway".to_owned()), csr())
        .await
        .unwrap_err();
    assert_eq!(service.code(), Code::PermissionDenied);
}

fn der(pem: &str) -> Vec<u8> {
    use rustls::pki_types::pem::PemObject as _;
    rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes())
        .unwrap()
        .to_vec()
}
