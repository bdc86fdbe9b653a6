//! Passing on to the operator's collector, which is a real OTLP receiver here.

use crate::fixture::Node;
use crate::held::Held;
use crate::listeners::{Listeners, gauges, label, labelled, metrics};
use berth_monitoring::ForwardConfig;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, any_value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Histogram, HistogramDataPoint, Metric};
use opentelemetry_proto::tonic::resource::v1::Resource;
use sqlx::PgPool;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codec::CompressionEncoding;
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status};

/// Takes metrics, and refuses those that are named `refused`.
struct Collector(mpsc::UnboundedSender<ExportMetricsServiceRequest>);

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let export = request.into_inner();
        if names(&export) == ["refused"] {
            return Err(Status::new(Code::ResourceExhausted, "larger than I take"));
        }
        self.0.send(export).unwrap();
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

type Arrivals = mpsc::UnboundedReceiver<ExportMetricsServiceRequest>;

/// A collector that runs, with all its connections, until it is stopped or dropped.
struct Running(Option<Runtime>);

impl Running {
    /// Ends it; when this returns, it takes nothing any more.
    async fn stop(mut self) {
        let runtime = self.0.take().unwrap();
        let ended = tokio::task::spawn_blocking(move || {
            runtime.shutdown_timeout(std::time::Duration::from_secs(60));
        });
        ended.await.unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

fn collector(listener: TcpListener) -> (Running, Arrivals) {
    let (sender, arrivals) = mpsc::unbounded_channel();
    let service =
        MetricsServiceServer::new(Collector(sender)).accept_compressed(CompressionEncoding::Gzip);
    let listener = listener.into_std().unwrap();
    let runtime = Runtime::new().unwrap();
    runtime.spawn(async move {
        let incoming = TcpListenerStream::new(TcpListener::from_std(listener).unwrap());
        let served = Server::builder()
            .add_service(service)
            .serve_with_incoming(incoming);
        served.await.unwrap();
    });
    (Running(Some(runtime)), arrivals)
}

async fn listen() -> (TcpListener, ForwardConfig) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = config(listener.local_addr().unwrap());
    (listener, config)
}

fn config(address: SocketAddr) -> ForwardConfig {
    ForwardConfig {
        endpoint: format!("http://{address}"),
        ..ForwardConfig::default()
    }
}

/// The next that arrives; a guard against a test that hangs.
async fn next(arrivals: &mut Arrivals) -> ExportMetricsServiceRequest {
    let next = tokio::time::timeout(std::time::Duration::from_secs(60), arrivals.recv());
    next.await.unwrap().unwrap()
}

fn metrics_of(export: &ExportMetricsServiceRequest) -> impl Iterator<Item = &Metric> {
    let scopes = export
        .resource_metrics
        .iter()
        .flat_map(|r| &r.scope_metrics);
    scopes.flat_map(|scope| &scope.metrics)
}

fn names(export: &ExportMetricsServiceRequest) -> Vec<&str> {
    metrics_of(export)
        .map(|metric| metric.name.as_str())
        .collect()
}

/// The attributes of a resource, all of them text.
fn attributes(resource: &Resource) -> Vec<(&str, &str)> {
    let mut all = Vec::new();
    for attribute in &resource.attributes {
        let value = attribute
            .value
            .as_ref()
            .and_then(|value| value.value.as_ref());
        if let Some(any_value::Value::StringValue(text)) = value {
            all.push((attribute.key.as_str(), text.as_str()));
        }
    }
    all
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn the_collector_learns_from_the_certificate_who_spoke(db: PgPool) {
    let (listener, config) = listen().await;
    let (_collector, mut arrivals) = collector(listener);
    let site = Listeners::forwarding(&db, &config).await;
    let node = Node::known(&site.replica).await;
    let mut export = gauges(&[("x", 1.0)]);
    let resource = &mut export.resource_metrics[0];
    resource.resource = Some(Resource {
        attributes: vec![
            label("service.name", "gateway"),
            label("berth.node.id", "node-1"),
        ],
        ..Resource::default()
    });
    resource.scope_metrics[0].scope = Some(InstrumentationScope {
        name: "anything".to_owned(),
        attributes: vec![label("forged", "yes")],
        ..InstrumentationScope::default()
    });
    metrics(site.machine(&node)).export(export).await.unwrap();

    let arrived = next(&mut arrivals).await;
    let part = &arrived.resource_metrics[0];
    let (id, placement) = (node.id.to_string(), node.placement.to_string());
    assert_eq!(
        attributes(part.resource.as_ref().unwrap()),
        [
            ("service.name", "berth-agent"),
            ("berth.node.id", id.as_str()),
            ("berth.placement.id", placement.as_str()),
            ("berth.fence", "3"),
        ]
    );
    assert_eq!(part.scope_metrics[0].scope, None);
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn what_a_service_says_is_passed_on_as_it_is(db: PgPool) {
    let (listener, config) = listen().await;
    let (_collector, mut arrivals) = collector(listener);
    let site = Listeners::forwarding(&db, &config).await;
    let mut export = labelled(
        gauges(&[("rpc.server.duration", 1.0)]),
        (0..20).map(|n| label(&n.to_string(), "x")).collect(),
    );
    export.resource_metrics[0].resource = Some(Resource {
        attributes: vec![label("service.name", "berth-leasing")],
        ..Resource::default()
    });
    let sent = export.clone();
    metrics(site.service("leasing"))
        .export(export)
        .await
        .unwrap();
    assert_eq!(next(&mut arrivals).await, sent);
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn what_is_beyond_the_limits_of_a_machine_is_not_passed_on(db: PgPool) {
    let (listener, config) = listen().await;
    let (_collector, mut arrivals) = collector(listener);
    let site = Listeners::forwarding(&db, &config).await;
    let node = Node::known(&site.replica).await;
    let names_of_201: Vec<_> = (0..201).map(|n| format!("x{n:03}")).collect();
    let many: Vec<_> = names_of_201
        .iter()
        .map(|name| (name.as_str(), 1.0))
        .collect();
    let mut export = labelled(gauges(&many), vec![label("k", &"x".repeat(129))]);
    export.resource_metrics[0].scope_metrics[0]
        .metrics
        .push(Metric {
            name: "distribution".to_owned(),
            data: Some(Data::Histogram(Histogram {
                data_points: vec![HistogramDataPoint::default()],
                ..Histogram::default()
            })),
            ..Metric::default()
        });
    let mut agent = metrics(site.machine(&node));
    let answer = agent.export(export).await.unwrap().into_inner();
    assert_eq!(answer.partial_success.unwrap().rejected_data_points, 2);
    let answer = agent.export(gauges(&[("another", 1.0)])).await.unwrap();
    assert!(answer.into_inner().partial_success.is_some());

    let points = |export: &ExportMetricsServiceRequest| {
        let gauges = metrics_of(export).map(|metric| match &metric.data {
            Some(Data::Gauge(gauge)) => gauge.data_points.len(),
            other => panic!("{other:?}"),
        });
        gauges.sum::<usize>()
    };
    assert_eq!(points(&next(&mut arrivals).await), 200);
    assert_eq!(points(&next(&mut arrivals).await), 0);
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn a_collector_that_was_away_gets_everything_in_order(db: PgPool) {
    let held = Held::new();
    let listener = TcpListener::bind(held.address()).await.unwrap();
    let (collecting, mut arrivals) = collector(listener);
    let site = Listeners::forwarding(&db, &config(held.address())).await;
    let mut service = metrics(site.service("leasing"));
    let name = |n: u32| format!("x{n}");
    service.export(gauges(&[(&name(0), 0.0)])).await.unwrap();
    assert_eq!(names(&next(&mut arrivals).await), ["x0"]);
    collecting.stop().await;
    // Receiving goes on meanwhile.
    for n in 1..=50 {
        service.export(gauges(&[(&name(n), 0.0)])).await.unwrap();
    }
    let listener = TcpListener::bind(held.address()).await.unwrap();
    let (_collector, mut arrivals) = collector(listener);
    let mut arrived = Vec::new();
    while arrived.len() < 50 {
        let export = next(&mut arrivals).await;
        // The first comes again when its answer was lost with the old collector.
        let others = names(&export).into_iter().filter(|n| *n != name(0));
        arrived.extend(others.map(str::to_owned));
    }
    assert_eq!(arrived, (1..=50).map(name).collect::<Vec<_>>());
    assert_eq!(site.forward.dropped(), 0);
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn a_collector_that_stays_away_costs_64_mib_and_no_more(db: PgPool) {
    let held = Held::new();
    let site = Listeners::forwarding(&db, &config(held.address())).await;
    let mut service = metrics(site.service("leasing"));
    let large = "x".repeat(3 << 20);
    for n in 0..25 {
        let export = gauges(&[(&format!("{n}"), 0.0), (&large, 0.0)]);
        service.export(export).await.unwrap();
    }
    // 21 of 3 MiB fit.
    assert_eq!(site.forward.dropped(), 4);
    let listener = TcpListener::bind(held.address()).await.unwrap();
    let (_collector, mut arrivals) = collector(listener);
    for n in 0..21 {
        assert_eq!(names(&next(&mut arrivals).await)[0], format!("{n}"));
    }
}

#[sqlx::test(migrator = "berth_monitoring::store::MIGRATIONS")]
async fn what_a_collector_refuses_does_not_block_what_follows(db: PgPool) {
    let (listener, config) = listen().await;
    let (_collector, mut arrivals) = collector(listener);
    let site = Listeners::forwarding(&db, &config).await;
    let channel = site.service("leasing");
    let mut service = metrics(channel.clone());
    service.export(gauges(&[("refused", 0.0)])).await.unwrap();
    // This collector knows nothing of logs.
    LogsServiceClient::new(channel)
        .export(ExportLogsServiceRequest::default())
        .await
        .unwrap();
    service.export(gauges(&[("taken", 0.0)])).await.unwrap();
    assert_eq!(names(&next(&mut arrivals).await), ["taken"]);
    assert_eq!(site.forward.dropped(), 2);
}
