//! Who is not heard, and what they are told.

use crate::authority::Pki;
use crate::fixture::{Node, reason};
use crate::listeners::{Listeners, certificate, channel, healthy, metrics};
use berth_core::{NodeId, PlacementId};
use berth_proto::monitoring::v1 as pb;
use berth_proto::monitoring::v1::monitoring_service_client::MonitoringServiceClient;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use sqlx::PgPool;
use tonic::transport::Channel;
use tonic::{Code, Status};

/// What a caller hears who sends metrics, logs and traces.
async fn refusals(channel: Channel) -> [Status; 3] {
    let metrics = metrics(channel.clone()).export(healthy()).await;
    let logs = LogsServiceClient::new(channel.clone())
        .export(ExportLogsServiceRequest::default())
        .await;
    let traces = TraceServiceClient::new(channel)
        .export(ExportTraceServiceRequest::default())
        .await;
    [metrics.unwrap_err(), logs.unwrap_err(), traces.unwrap_err()]
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn only_the_current_placement_of_a_node_is_heard(db: PgPool) {
    let site = Listeners::new(&db).await;
    let node = Node::known(&site.replica).await;
    let old = Node { fence: 2, ..node };
    let future = Node { fence: 4, ..node };
    let placement = PlacementId::generate();
    let elsewhere = Node { placement, ..node };
    let unknown = Node {
        id: NodeId::generate(),
        ..node
    };
    for (who, expected, told) in [
        (old, "FENCED", "fence 2 is not the current fence 3"),
        (future, "FENCED", "fence 4 is not the current fence 3"),
        (elsewhere, "FENCED", "is not the current placement"),
        (unknown, "NOT_PLACED", "nothing is expected of node-"),
    ] {
        for status in refusals(site.machine(&who)).await {
            assert_eq!(status.code(), Code::FailedPrecondition, "{told}");
            assert_eq!(reason(&status), expected);
            assert!(status.message().contains(told), "{status}");
        }
    }
    let health = node.health(&site.replica).await.unwrap();
    assert_eq!(health.signal_time, None);
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn a_placement_is_not_heard_once_its_fence_has_moved(db: PgPool) {
    let site = Listeners::new(&db).await;
    let node = Node::known(&site.replica).await;
    let mut agent = metrics(site.machine(&node));
    agent.export(healthy()).await.unwrap();
    let moved = Node {
        fence: 4,
        placement: PlacementId::generate(),
        ..node
    };
    crate::fixture::put(&site.replica, moved.target())
        .await
        .unwrap();
    // The same connection, the same certificate.
    let status = agent.export(healthy()).await.unwrap_err();
    assert_eq!(reason(&status), "FENCED");
    metrics(site.machine(&moved))
        .export(healthy())
        .await
        .unwrap();
}

/// The alert that ended a handshake, or that no connection came to be.
async fn handshake(channel: Channel) -> String {
    let status = metrics(channel).export(healthy()).await.unwrap_err();
    let told = berth_core::report(&status);
    assert!(
        status.code() != Code::Ok && told.contains("transport error"),
        "{told}"
    );
    told
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn a_certificate_of_the_other_authority_ends_at_the_handshake(db: PgPool) {
    let site = Listeners::new(&db).await;
    let node = Node::known(&site.replica).await;
    let pki = &site.pki;
    let service = || pki.services.issue("berth://service/provisioning", &[]);
    let placement = || certificate(&pki.placements, &node);
    // An authority that only has the name of ours.
    let foreign = Pki::new();
    let forged = certificate(&foreign.placements, &node);
    let (unknown, forgery, missing) = ("UnknownCA", "DecryptError", "CertificateRequired");
    for (address, issued, alert) in [
        (site.machines, Some(service()), unknown),
        (site.services, Some(placement()), unknown),
        (site.machines, Some(forged), forgery),
        (site.machines, None, missing),
        (site.services, None, missing),
    ] {
        let told = handshake(channel(pki, address, issued)).await;
        assert!(told.contains(alert), "{told}");
    }
    // The addresses are right: the right certificates get through.
    metrics(channel(pki, site.machines, Some(placement())))
        .export(healthy())
        .await
        .unwrap();
    metrics(channel(pki, site.services, Some(service())))
        .export(healthy())
        .await
        .unwrap();
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn a_name_that_is_no_placement_is_nobody(db: PgPool) {
    let site = Listeners::new(&db).await;
    let node = Node::known(&site.replica).await;
    let id = node.id;
    for uri in [
        "berth://placement/x/y/3".to_owned(),
        format!("berth://placement/{id}"),
        "https://berth.dev".to_owned(),
    ] {
        let issued = site.pki.placements.issue(&uri, &[]);
        let nobody = channel(&site.pki, site.machines, Some(issued));
        let status = metrics(nobody).export(healthy()).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{uri}");
        assert_eq!(reason(&status), "NO_CERTIFICATE");
    }
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn a_machine_sends_and_cannot_ask(db: PgPool) {
    let site = Listeners::new(&db).await;
    let node = Node::known(&site.replica).await;
    let request = pb::GetHealthRequest {
        node_id: node.id.to_string(),
    };
    let mut asking = MonitoringServiceClient::new(site.machine(&node));
    let status = asking.get_health(request).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(reason(&status), "CALLER_NOT_PERMITTED");
}
