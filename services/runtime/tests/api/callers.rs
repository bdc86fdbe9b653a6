//! Who may call what, over real TLS: the certificate decides.

use crate::authority::{Issued, Pki};
use berth_core::{NodeId, PlacementId};
use berth_runtime::identity::{Identity, Trust};
use berth_runtime::{clients, server};
use http::uri::PathAndQuery;
use std::net::SocketAddr;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::client::Grpc;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt as _;

const PUT_TARGET: &str = "/berth.monitoring.v1.TargetService/PutTarget";
const GET_HEALTH: &str = "/berth.monitoring.v1.MonitoringService/GetHealth";
const RENEW: &str = "/berth.provisioning.v1.PlacementService/RenewCertificate";
const HEALTH: &str = "/grpc.health.v1.Health/Check";

/// A listener that serves health and nothing else: whoever is let through to a
/// method of ours hears UNIMPLEMENTED.
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    _task: JoinSet<()>,
}

impl Listener {
    pub(crate) async fn start(identity: &Identity, trust: Trust) -> Self {
        let listener = server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut task = JoinSet::new();
        task.spawn(server::serve(
            listener,
            identity.clone(),
            trust,
            server::routes().unwrap(),
            CancellationToken::new(),
        ));
        Self {
            address,
            _task: task,
        }
    }

    /// A channel that shows any certificate, or none.
    fn channel(&self, pki: &Pki, issued: Option<Issued>) -> Channel {
        let mut tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(pki.services.pem()))
            .domain_name("monitoring");
        if let Some(issued) = issued {
            let identity = tonic::transport::Identity::from_pem(issued.certificate, issued.key);
            tls = tls.identity(identity);
        }
        Endpoint::from_shared(format!("https://{}", self.address))
            .unwrap()
            .tls_config(tls)
            .unwrap()
            .connect_lazy()
    }
}

/// Calls a path with an empty message.
pub(crate) async fn call(
    channel: Channel,
    path: &'static str,
    account: Option<&str>,
) -> Result<(), Status> {
    let mut request = Request::new(());
    if let Some(account) = account {
        let account = account.parse().unwrap();
        request.metadata_mut().insert("berth-account", account);
    }
    let mut client = Grpc::new(channel);
    client
        .ready()
        .await
        .map_err(|error| Status::unknown(berth_core::report(&error)))?;
    let codec = ProstCodec::<(), ()>::default();
    let path = PathAndQuery::from_static(path);
    client.unary(request, path, codec).await.map(drop)
}

/// The health check, as it shows that a connection is good.
pub(crate) async fn well(channel: Channel) -> Result<(), Status> {
    call(channel, HEALTH, None).await
}

fn placement() -> String {
    let (node, placement) = (NodeId::generate(), PlacementId::generate());
    format!("berth://placement/{node}/{placement}/1")
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().unwrap().reason
}

#[tokio::test]
async fn only_a_certificate_of_the_right_authority_gets_through_the_handshake() {
    let (pki, foreign) = (Pki::new(), Pki::new());
    let identity = pki.identity("monitoring");
    let services = Listener::start(&identity, Trust::Services).await;
    let placements = Listener::start(&identity, Trust::Placements).await;
    let anyone = Listener::start(&identity, Trust::Anyone).await;
    let service = |pki: &Pki| Some(pki.services.issue("berth://service/leasing", &[]));
    let machine = |pki: &Pki| Some(pki.placements.issue(&placement(), &[]));
    for (listener, issued, alert) in [
        (&services, None, "CertificateRequired"),
        (&placements, None, "CertificateRequired"),
        (&anyone, None, "CertificateRequired"),
        (&services, machine(&pki), "UnknownCA"),
        (&placements, service(&pki), "UnknownCA"),
        // The names of these authorities are right, and their keys are not.
        (&services, service(&foreign), "DecryptError"),
        (&placements, machine(&foreign), "DecryptError"),
        (&anyone, service(&foreign), "DecryptError"),
    ] {
        let status = well(listener.channel(&pki, issued)).await.unwrap_err();
        let told = format!("{} {}", status.message(), berth_core::report(&status));
        assert!(told.contains(alert), "{told}");
    }
    for (listener, issued) in [
        (&services, service(&pki)),
        (&placements, machine(&pki)),
        (&anyone, service(&pki)),
        (&anyone, machine(&pki)),
    ] {
        well(listener.channel(&pki, issued)).await.unwrap();
    }
}

#[tokio::test]
async fn a_method_is_for_the_roles_that_it_names() {
    let pki = Pki::new();
    let listener = Listener::start(&pki.identity("monitoring"), Trust::Anyone).await;
    let let_through = Code::Unimplemented;
    let refused = Code::PermissionDenied;
    for (uri, path, expected) in [
        ("berth://service/provisioning", PUT_TARGET, let_through),
        ("berth://service/gateway", PUT_TARGET, refused),
        ("berth://service/gateway", GET_HEALTH, let_through),
        ("berth://service/leasing", GET_HEALTH, refused),
        ("berth://service/placement", PUT_TARGET, refused),
        ("berth://service/gateway", "/berth.x.v1.Y/Z", refused),
        (
            "berth://service/gateway/more",
            GET_HEALTH,
            Code::Unauthenticated,
        ),
        (
            "spiffe://service/gateway",
            GET_HEALTH,
            Code::Unauthenticated,
        ),
    ] {
        let issued = pki.services.issue(uri, &[]);
        let channel = listener.channel(&pki, Some(issued));
        let status = call(channel, path, None).await.unwrap_err();
        assert_eq!(status.code(), expected, "{uri} {path}");
        if expected == refused {
            assert_eq!(reason(&status), "CALLER_NOT_PERMITTED");
            assert!(status.message().contains(path), "{status}");
        }
    }
}

#[tokio::test]
async fn a_machine_calls_what_machines_may_and_speaks_for_no_account() {
    let pki = Pki::new();
    let listener = Listener::start(&pki.identity("monitoring"), Trust::Anyone).await;
    let machine = || listener.channel(&pki, Some(pki.placements.issue(&placement(), &[])));
    let status = call(machine(), RENEW, Some("not even an account")).await;
    assert_eq!(status.unwrap_err().code(), Code::Unimplemented);
    for path in [PUT_TARGET, GET_HEALTH] {
        let status = call(machine(), path, None).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{path}");
    }
}

#[tokio::test]
async fn an_account_that_is_none_is_refused() {
    let pki = Pki::new();
    let listener = Listener::start(&pki.identity("monitoring"), Trust::Services).await;
    let gateway = pki.identity("gateway");
    let channel = clients::channel("monitoring", &listener.address.to_string(), &gateway);
    let status = call(channel, GET_HEALTH, Some("account-1")).await;
    assert_eq!(status.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_client_talks_to_the_role_it_wants_and_to_whichever_replica_answers() {
    let pki = Pki::new();
    let listener = Listener::start(&pki.identity("monitoring"), Trust::Services).await;
    let gateway = pki.identity("gateway");
    let replicas = format!("127.0.0.1:1, {}", listener.address);
    for _ in 0..2 {
        well(clients::channel("monitoring", &replicas, &gateway))
            .await
            .unwrap();
    }
    let status = well(clients::channel("leasing", &replicas, &gateway)).await;
    let told = status.unwrap_err().to_string();
    assert!(told.contains("not valid for name"), "{told}");
}
