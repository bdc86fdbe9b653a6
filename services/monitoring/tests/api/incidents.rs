//! Incidents: from what the signer refuses to what people take up.

use crate::eventually::eventually;
use crate::fixture::{Node, Replica, reason};
use crate::listeners::{Listeners, label};
use berth_core::{AccountId, Fence};
use berth_monitoring::domain::Refused;
use berth_monitoring::reconcile;
use berth_monitoring::store::incidents;
use berth_proto::monitoring::v1 as pb;
use berth_proto::monitoring::v1::incident_service_server::IncidentService as _;
use berth_runtime::telemetry::{self, LogFormat, TelemetryConfig};
use chrono::{DateTime, TimeDelta, Utc};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use pb::incident::{Severity, State};
use sqlx::PgPool;
use tokio::task::JoinSet;
use tonic::{Code, Status};
use uuid::Uuid;

fn refused(node: &Node, reason: &str) -> Refused {
    Refused {
        node_id: node.id,
        reason: reason.to_owned(),
        count: 1,
        fence: Fence::from(node.fence),
        public_key: "0xab".to_owned(),
        detail: "target 7 is signed".to_owned(),
    }
}

async fn report(db: &PgPool, refused: &[Refused], when: DateTime<Utc>) {
    let mut conn = db.acquire().await.unwrap();
    incidents::report(&mut conn, refused, when).await.unwrap();
}

async fn list(replica: &Replica, node: &Node, resolved: bool) -> Vec<pb::Incident> {
    let request = pb::ListIncidentsRequest {
        show_resolved: resolved,
        ..pb::ListIncidentsRequest::default()
    };
    let answer = replica.api.list_incidents(node.request(request)).await;
    answer.unwrap().into_inner().incidents
}

async fn acknowledge(
    replica: &Replica,
    node: &Node,
    incident: &pb::Incident,
    etag: &str,
) -> Result<pb::Incident, Status> {
    let request = pb::AcknowledgeIncidentRequest {
        request_id: Uuid::now_v7().to_string(),
        incident_id: incident.id.clone(),
        etag: etag.to_owned(),
    };
    let answer = replica.api.acknowledge_incident(node.request(request));
    Ok(answer.await?.into_inner().incident.unwrap())
}

/// Lets the sweeping run once, now.
async fn sweep(db: &PgPool) {
    reconcile::wake(db).await.unwrap();
    reconcile::reconciler(db.clone()).turn().await.unwrap();
}

/// An export with one record of a scope.
fn export(scope: &str, attributes: &[(&str, &str)]) -> ExportLogsServiceRequest {
    let attributes = attributes.iter().map(|(key, value)| label(key, value));
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            scope_logs: vec![ScopeLogs {
                scope: Some(InstrumentationScope {
                    name: scope.to_owned(),
                    ..InstrumentationScope::default()
                }),
                log_records: vec![LogRecord {
                    attributes: attributes.collect(),
                    ..LogRecord::default()
                }],
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    }
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn what_the_signer_says_in_its_log_becomes_an_incident(db: PgPool) {
    let site = Listeners::new(&db).await;
    let node = Node::known(&site.replica).await;
    let config = TelemetryConfig {
        level: "info".to_owned(),
        format: LogFormat::Text,
        otlp: true,
    };
    let guard = telemetry::init("signer", &config, Some(site.service("signer"))).unwrap();
    for _ in 0..3 {
        tracing::warn!(
            target: "berth_signer::web3signer",
            reason = "DOUBLE_VOTE",
            public_key = "0xab",
            node_id = %node.id,
            fence = %Fence::from(node.fence),
            detail = "target 7 is signed",
            "not signed"
        );
    }
    let told = eventually("the refusals are an incident", async || {
        let open = list(&site.replica, &node, false).await;
        open.into_iter()
            .next()
            .filter(|incident| incident.count == 3)
    });
    let incident = told.await;
    assert_eq!(incident.reason, "DOUBLE_VOTE");
    assert_eq!(
        (incident.severity(), incident.state()),
        (Severity::Security, State::Open)
    );
    assert_eq!(
        (incident.fence, incident.public_key.as_str()),
        (node.fence, "0xab")
    );
    assert_eq!(incident.detail, "target 7 is signed");
    // It waits for what is left to be sent, over this runtime.
    tokio::task::spawn_blocking(move || drop(guard))
        .await
        .unwrap();
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn nobody_but_the_signer_makes_incidents_and_only_of_refusals(db: PgPool) {
    let site = Listeners::new(&db).await;
    let node = Node::known(&site.replica).await;
    let id = node.id.to_string();
    let good = [
        ("node_id", id.as_str()),
        ("reason", "FENCED"),
        ("fence", "3"),
    ];
    let stranger = Node::new().id.to_string();
    let ours = "berth_signer::web3signer";
    for (channel, scope, attributes) in [
        (site.machine(&node), ours, good),
        (site.service("provisioning"), ours, good),
        (site.service("signer"), "berth_signer::anchor", good),
        (site.service("signer"), "berth_signer::web3signers", good),
        (
            site.service("signer"),
            ours,
            [good[0], ("reason", ""), good[2]],
        ),
        (
            site.service("signer"),
            ours,
            [("node_id", "n1"), good[1], good[2]],
        ),
        (
            site.service("signer"),
            ours,
            [("node_id", &stranger), good[1], good[2]],
        ),
        (
            site.service("signer"),
            ours,
            [good[0], good[1], ("fence", "-1")],
        ),
    ] {
        let mut logs = LogsServiceClient::new(channel);
        logs.export(export(scope, &attributes)).await.unwrap();
    }
    let any: i64 = sqlx::query_scalar("select count(*) from incident")
        .fetch_one(&db)
        .await
        .unwrap();
    assert_eq!(any, 0);
    let mut logs = LogsServiceClient::new(site.service("signer"));
    logs.export(export(ours, &good)).await.unwrap();
    assert_eq!(list(&site.replica, &node, false).await.len(), 1);
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn refusals_at_once_are_one_incident_a_node_and_reason(db: PgPool) {
    let replica = Replica::new(&db);
    let nodes = [Node::known(&replica).await, Node::known(&replica).await];
    let mut racing = JoinSet::new();
    for turn in 0..16 {
        let db = db.clone();
        let mut all: Vec<_> = nodes
            .iter()
            .flat_map(|node| ["SURROUND", "RATE_LIMITED"].map(|reason| refused(node, reason)))
            .collect();
        // In any order, as the signer's replicas send them.
        all.rotate_left(turn % 4);
        racing.spawn(async move { report(&db, &all, berth_core::now()).await });
    }
    racing.join_all().await;
    for node in &nodes {
        let open = list(&replica, node, false).await;
        let mut seen: Vec<_> = open
            .iter()
            .map(|one| (one.reason.as_str(), one.severity(), one.count))
            .collect();
        seen.sort_by_key(|(reason, _, _)| *reason);
        assert_eq!(
            seen,
            [
                ("RATE_LIMITED", Severity::Warning, 16),
                ("SURROUND", Severity::Security, 16)
            ]
        );
    }
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn an_incident_is_taken_up_goes_on_and_resolves_when_it_is_quiet(db: PgPool) {
    let replica = Replica::new(&db);
    let node = Node::known(&replica).await;
    let quiet = berth_core::now() - TimeDelta::minutes(16);
    report(&db, &[refused(&node, "FENCED")], quiet).await;
    let open = list(&replica, &node, false).await.remove(0);
    let known = acknowledge(&replica, &node, &open, &open.etag)
        .await
        .unwrap();
    assert_eq!(known.state(), State::Acknowledged);
    assert!(known.acknowledge_time.is_some());
    let stale = acknowledge(&replica, &node, &open, &open.etag)
        .await
        .unwrap_err();
    assert_eq!(reason(&stale), "STALE_ETAG");
    let again = acknowledge(&replica, &node, &open, "").await.unwrap();
    assert_eq!(again, known);

    // It comes again while somebody knows, and then no more.
    report(&db, &[refused(&node, "FENCED")], quiet).await;
    let still = list(&replica, &node, false).await.remove(0);
    assert_eq!((still.id.as_str(), still.count), (known.id.as_str(), 2));
    assert_eq!(still.state(), State::Acknowledged);
    sweep(&db).await;
    assert_eq!(list(&replica, &node, false).await, []);
    let over = list(&replica, &node, true).await.remove(0);
    assert_eq!(over.state(), State::Resolved);
    assert!(over.resolve_time.is_some());
    let late = acknowledge(&replica, &node, &over, "").await.unwrap_err();
    assert_eq!(reason(&late), "INCIDENT_STATE");

    // What comes after that is another one.
    report(&db, &[refused(&node, "FENCED")], berth_core::now()).await;
    let both = list(&replica, &node, true).await;
    assert_eq!(both.len(), 2);
    assert_ne!(both[0].id, over.id);
    assert_eq!((both[0].state(), both[0].count), (State::Open, 1));
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn incidents_of_another_account_are_not_found(db: PgPool) {
    let replica = Replica::new(&db);
    let node = Node::known(&replica).await;
    report(&db, &[refused(&node, "FENCED")], berth_core::now()).await;
    let open = list(&replica, &node, false).await.remove(0);
    let stranger = Node {
        account: AccountId::generate(),
        ..node
    };
    assert_eq!(list(&replica, &stranger, true).await, []);
    let status = acknowledge(&replica, &stranger, &open, "")
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn an_acknowledgement_sent_twice_has_one_effect(db: PgPool) {
    let replica = Replica::new(&db);
    let node = Node::known(&replica).await;
    report(&db, &[refused(&node, "FENCED")], berth_core::now()).await;
    let open = list(&replica, &node, false).await.remove(0);
    let request = pb::AcknowledgeIncidentRequest {
        request_id: Uuid::now_v7().to_string(),
        incident_id: open.id.clone(),
        etag: open.etag.clone(),
    };
    let mut answers = Vec::new();
    for _ in 0..2 {
        let request = node.request(request.clone());
        let answer = replica.api.acknowledge_incident(request).await.unwrap();
        answers.push(answer.into_inner());
    }
    assert_eq!(answers[0], answers[1]);
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn a_list_goes_page_by_page_and_node_by_node(db: PgPool) {
    let replica = Replica::new(&db);
    let node = Node::known(&replica).await;
    let reasons = ["A", "B", "C"];
    for reason in reasons {
        report(&db, &[refused(&node, reason)], berth_core::now()).await;
    }
    let mut seen = Vec::new();
    let mut request = pb::ListIncidentsRequest {
        page_size: 2,
        node_id: node.id.to_string(),
        ..pb::ListIncidentsRequest::default()
    };
    loop {
        let answer = replica.api.list_incidents(node.request(request.clone()));
        let page = answer.await.unwrap().into_inner();
        seen.extend(page.incidents.into_iter().map(|one| one.reason));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, ["C", "B", "A"]);
    request.node_id = Node::new().id.to_string();
    let none = replica.api.list_incidents(node.request(request)).await;
    assert_eq!(none.unwrap().into_inner().incidents, []);
}
