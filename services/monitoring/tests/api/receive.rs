//! What machines send over mutual TLS, and how much of it is taken.

use crate::fixture::{Node, State, reason};
use crate::listeners::{Listeners, gauges, healthy, label, labelled, metrics};
use berth_proto::monitoring::v1 as pb;
use berth_proto::monitoring::v1::monitoring_service_client::MonitoringServiceClient;
use berth_runtime::clients::request_for;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use sqlx::PgPool;
use tokio::task::JoinSet;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Response};

fn rejected(answer: Response<ExportMetricsServiceResponse>) -> i64 {
    let partial = answer.into_inner().partial_success;
    partial.map_or(0, |partial| partial.rejected_data_points)
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn what_a_machine_sends_becomes_the_health_of_its_node(db: PgPool) {
    let site = Listeners::new(&db).await;
    let node = Node::known(&site.replica).await;
    let mut agent = metrics(site.machine(&node));
    assert_eq!(rejected(agent.export(healthy()).await.unwrap()), 0);

    let mut provisioning = MonitoringServiceClient::new(site.service("provisioning"));
    let request = pb::GetHealthRequest {
        node_id: node.id.to_string(),
    };
    let answer = provisioning.get_health(request_for(node.account, request));
    let health = answer.await.unwrap().into_inner().health.unwrap();
    assert_eq!((health.state(), health.height), (State::Healthy, 100));
    assert_eq!(health.fence, node.fence);
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn gzip_and_zstd_are_understood(db: PgPool) {
    let site = Listeners::new(&db).await;
    let node = Node::known(&site.replica).await;
    for (height, encoding) in [
        (7_u32, CompressionEncoding::Gzip),
        (8, CompressionEncoding::Zstd),
    ] {
        let mut agent = metrics(site.machine(&node)).send_compressed(encoding);
        let export = gauges(&[("berth.node.height", height.into())]);
        agent.export(export).await.unwrap();
        let health = node.health(&site.replica).await.unwrap();
        assert_eq!(health.height, u64::from(height));
    }
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn an_export_of_more_than_4_mib_is_refused_packed_or_not(db: PgPool) {
    let site = Listeners::new(&db).await;
    let node = Node::known(&site.replica).await;
    let bomb = || gauges(&[(&"x".repeat(4 << 20), 1.0)]);
    let status = metrics(site.machine(&node)).export(bomb()).await;
    // The agent gives such an export up, and does not send it again.
    assert_eq!(status.unwrap_err().code(), Code::OutOfRange);
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let mut agent = metrics(site.machine(&node)).send_compressed(encoding);
        let status = agent.export(bomb()).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.message().contains("size limit"), "{status}");
    }
    let health = node.health(&site.replica).await.unwrap();
    assert_eq!(health.signal_time, None);
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn label_bombs_and_what_is_no_number_are_counted_and_the_rest_is_kept(db: PgPool) {
    let site = Listeners::new(&db).await;
    let node = Node::known(&site.replica).await;
    let mut agent = metrics(site.machine(&node));
    let many = (0..17).map(|n| label(&n.to_string(), "x")).collect();
    let long = vec![label("k", &"x".repeat(129))];
    let forged = vec![label("k", "v,other=1")];
    for labels in [many, long, forged] {
        let mixed = gauges(&[("x", 1.0), ("berth.node.height", 5.0)]);
        let answer = agent.export(labelled(mixed, labels)).await.unwrap();
        assert_eq!(rejected(answer), 1);
    }
    for value in [f64::NAN, f64::INFINITY] {
        let answer = agent.export(gauges(&[("x", value)])).await.unwrap();
        assert_eq!(rejected(answer), 1);
    }
    let answer = agent.export(gauges(&[(&"x".repeat(129), 1.0)])).await;
    assert_eq!(rejected(answer.unwrap()), 1);
    let health = node.health(&site.replica).await.unwrap();
    assert_eq!(health.height, 5);
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn exports_that_race_on_two_replicas_share_one_limit(db: PgPool) {
    let (one, other) = (Listeners::new(&db).await, Listeners::new(&db).await);
    let node = Node::known(&one.replica).await;
    let mut racing = JoinSet::new();
    for number in 0..6 {
        let site = if number % 2 == 0 { &one } else { &other };
        let mut agent = metrics(site.machine(&node));
        let names: Vec<_> = (0..100).map(|n| format!("x_{number}_{n}")).collect();
        let values: Vec<_> = names.iter().map(|name| (name.as_str(), 1.0)).collect();
        let export = gauges(&values);
        racing.spawn(async move { rejected(agent.export(export).await.unwrap()) });
    }
    assert_eq!(racing.join_all().await.iter().sum::<i64>(), 400);
    let kept: i64 = sqlx::query_scalar("select count(*) from series")
        .fetch_one(&db)
        .await
        .unwrap();
    assert_eq!(kept, 200);
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn a_machine_that_floods_is_slowed_down_and_nobody_else(db: PgPool) {
    let site = Listeners::new(&db).await;
    let (loud, quiet) = (
        Node::known(&site.replica).await,
        Node::known(&site.replica).await,
    );
    let mut agent = metrics(site.machine(&loud));
    let mut sent = 0;
    let status = loop {
        match agent.export(gauges(&[("x", 1.0)])).await {
            Ok(_) if sent < 10_000 => sent += 1,
            answer => break answer.unwrap_err(),
        }
    };
    assert!(sent >= 120, "{sent}");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(reason(&status), "TOO_MANY_EXPORTS");
    let mut agent = metrics(site.machine(&quiet));
    agent.export(healthy()).await.unwrap();
}
