//! Monitoring's two listeners over real mutual TLS, and those who call them.

use crate::authority::{Authority, Issued, Pki};
use crate::fixture::{Node, Replica};
use berth_monitoring::ForwardConfig;
use berth_monitoring::forward::Forward;
use berth_monitoring::otlp::Receiver;
use berth_proto::monitoring::v1::monitoring_service_server::MonitoringServiceServer;
use berth_runtime::identity::Trust;
use berth_runtime::{clients, server};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics,
};
use sqlx::PgPool;
use std::net::SocketAddr;
use tokio::task::JoinSet;
use tonic::service::Routes;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// A replica that listens.
pub(crate) struct Listeners {
    pub(crate) pki: Pki,
    pub(crate) replica: Replica,
    pub(crate) forward: Forward,
    /// Where services call.
    pub(crate) services: SocketAddr,
    /// Where machines call.
    pub(crate) machines: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Listeners {
    pub(crate) async fn new(db: &PgPool) -> Self {
        Self::forwarding(db, &ForwardConfig::default()).await
    }

    /// One that passes on what it receives.
    pub(crate) async fn forwarding(db: &PgPool, config: &ForwardConfig) -> Self {
        let (pki, replica) = (Pki::new(), Replica::new(db));
        let identity = pki.identity("monitoring");
        let (forward, forwarding) = Forward::start(config, replica.stop.clone()).unwrap();
        let (receiver, keeping) = Receiver::new(db.clone(), forward.clone());
        let main = Routes::new(MonitoringServiceServer::new(replica.api.clone()));
        let mut tasks = JoinSet::new();
        tasks.spawn(forwarding);
        tasks.spawn(keeping);
        let mut addresses = Vec::new();
        for (trust, routes) in [
            (Trust::Services, main),
            (Trust::Placements, Routes::default()),
        ] {
            let listener = server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
            addresses.push(listener.local_addr().unwrap());
            tasks.spawn(server::serve(
                listener,
                identity.clone(),
                trust,
                receiver.routes(routes),
                replica.stop.clone(),
            ));
        }
        Self {
            pki,
            replica,
            forward,
            services: addresses[0],
            machines: addresses[1],
            _tasks: tasks,
        }
    }

    /// A channel as the machine of a node opens it.
    pub(crate) fn machine(&self, node: &Node) -> Channel {
        let issued = certificate(&self.pki.placements, node);
        channel(&self.pki, self.machines, Some(issued))
    }

    /// A channel as a service opens it.
    pub(crate) fn service(&self, role: &str) -> Channel {
        let identity = self.pki.identity(role);
        clients::channel("monitoring", &self.services.to_string(), &identity)
    }
}

/// What an authority would write for a node's placement.
pub(crate) fn certificate(authority: &Authority, node: &Node) -> Issued {
    let (id, placement, fence) = (node.id, node.placement, node.fence);
    authority.issue(&format!("berth://placement/{id}/{placement}/{fence}"), &[])
}

/// A channel that trusts the services and shows any certificate, or none.
pub(crate) fn channel(pki: &Pki, address: SocketAddr, issued: Option<Issued>) -> Channel {
    let mut tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(pki.services.pem()))
        .domain_name("monitoring");
    if let Some(issued) = issued {
        tls = tls.identity(Identity::from_pem(issued.certificate, issued.key));
    }
    Endpoint::from_shared(format!("https://{address}"))
        .unwrap()
        .tls_config(tls)
        .unwrap()
        .connect_lazy()
}

pub(crate) fn metrics(channel: Channel) -> MetricsServiceClient<Channel> {
    MetricsServiceClient::new(channel)
}

/// A label, or an attribute of a resource.
pub(crate) fn label(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(any_value::Value::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}

/// An export of gauges.
pub(crate) fn gauges(values: &[(&str, f64)]) -> ExportMetricsServiceRequest {
    let metrics = values.iter().map(|(name, value)| Metric {
        name: (*name).to_owned(),
        data: Some(Data::Gauge(Gauge {
            data_points: vec![NumberDataPoint {
                value: Some(Value::AsDouble(*value)),
                ..NumberDataPoint::default()
            }],
        })),
        ..Metric::default()
    });
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            scope_metrics: vec![ScopeMetrics {
                metrics: metrics.collect(),
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    }
}

/// Gives the first point of an export labels.
pub(crate) fn labelled(
    mut export: ExportMetricsServiceRequest,
    labels: Vec<KeyValue>,
) -> ExportMetricsServiceRequest {
    let metric = &mut export.resource_metrics[0].scope_metrics[0].metrics[0];
    if let Some(Data::Gauge(gauge)) = &mut metric.data {
        gauge.data_points[0].attributes = labels;
    }
    export
}

/// An export of a node that follows its chain.
pub(crate) fn healthy() -> ExportMetricsServiceRequest {
    gauges(&[
        ("berth.node.up", 1.0),
        ("berth.node.catching_up", 0.0),
        ("berth.node.height", 100.0),
        ("berth.node.peers", 4.0),
    ])
}
