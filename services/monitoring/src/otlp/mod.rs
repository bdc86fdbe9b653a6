//! The OTLP receiver: whose signals they are is decided by the certificate
//! that they come with; everything else in them is hostile until it is parsed.

mod keep;
mod limits;
mod points;
mod refusals;

pub use points::Point;

use crate::domain::{Refused, Speaker};
use crate::forward::{Forward, Signal};
use crate::store::{incidents, targets};
use berth_core::Result;
use berth_runtime::auth::{self, Peer};
use berth_runtime::{pg, server, status};
use chrono::{DateTime, Utc};
use keep::Keeper;
use limits::Limits;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{
    LogsService, LogsServiceServer,
};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use sqlx::PgPool;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::{Extensions, Request, Response, Status};

/// The service whose refusals are incidents.
const SIGNER: &str = "signer";

/// Receives OTLP from services and placements.
#[derive(Debug, Clone)]
pub struct Receiver {
    db: PgPool,
    keeper: Keeper,
    forward: Forward,
    limits: Limits,
}

/// An OTLP service with the limits that hold before it reads a body.
macro_rules! limited {
    ($service:ident, $receiver:expr) => {{
        let limits = $receiver.limits.clone();
        InterceptedService::new(
            $service::new($receiver.clone())
                .accept_compressed(CompressionEncoding::Gzip)
                .accept_compressed(CompressionEncoding::Zstd)
                .max_decoding_message_size(server::MAX_MESSAGE),
            move |request| limits.admit(request),
        )
    }};
}

impl Receiver {
    /// Keeps samples in `db` and passes everything on. The future does the keeping
    /// and is a task of the service.
    pub fn new(db: PgPool, forward: Forward) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (keeper, keeping) = Keeper::new(db.clone());
        let receiver = Self {
            db,
            keeper,
            forward,
            limits: Limits::default(),
        };
        (receiver, keeping)
    }

    /// Adds the three OTLP services to a listener.
    #[must_use]
    pub fn routes(&self, routes: Routes) -> Routes {
        routes
            .add_service(limited!(MetricsServiceServer, self))
            .add_service(limited!(LogsServiceServer, self))
            .add_service(limited!(TraceServiceServer, self))
    }

    async fn metrics(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<ExportMetricsServiceResponse> {
        // They hold the place that the limits gave.
        let (_, extensions, mut export) = request.into_parts();
        let mut rejected = 0;
        if let Some(speaker) = speaker(&extensions)? {
            self.limits.charge(speaker.node_id, export.encoded_len());
            rejected = self.keep(speaker, &mut export).await?;
            if self.forward.is_on() {
                own(speaker, &mut export);
            }
        }
        self.forward.send(Signal::Metrics, &export);
        Ok(ExportMetricsServiceResponse {
            partial_success: (rejected > 0).then(|| ExportMetricsPartialSuccess {
                rejected_data_points: rejected,
                error_message: "beyond the limits of a placement; see the operator's guide"
                    .to_owned(),
            }),
        })
    }

    /// Stores what an export holds and removes from it what is beyond the
    /// limits; returns how much that was.
    async fn keep(
        &self,
        speaker: Speaker,
        export: &mut ExportMetricsServiceRequest,
    ) -> Result<i64> {
        let (points, rejected) = points::take(export, berth_core::now());
        let left_out = self.keeper.keep(speaker, points).await?;
        Ok(rejected + points::remove(export, &left_out))
    }

    /// Who speaks, once its target says that it may.
    async fn admitted(&self, extensions: &Extensions, bytes: usize) -> Result<Option<Speaker>> {
        let Some(speaker) = speaker(extensions)? else {
            return Ok(None);
        };
        self.limits.charge(speaker.node_id, bytes);
        let mut conn = self.db.acquire().await.map_err(pg::error)?;
        speaker.admit(targets::speaker(&mut conn, speaker.node_id).await?)?;
        Ok(Some(speaker))
    }

    async fn logs(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<ExportLogsServiceResponse> {
        let (_, extensions, mut export) = request.into_parts();
        let mut refused = Vec::new();
        if let Some(speaker) = self.admitted(&extensions, export.encoded_len()).await? {
            for part in &mut export.resource_logs {
                (part.resource, part.schema_url) = (Some(resource(speaker)), String::new());
            }
        } else if *auth::peer(&extensions)? == Peer::Service(SIGNER.to_owned()) {
            refused = refusals::refusals(&export);
        }
        self.forward.send(Signal::Logs, &export);
        self.report(&refused).await?;
        Ok(ExportLogsServiceResponse::default())
    }

    /// Makes incidents of what the signer refused.
    async fn report(&self, refused: &[Refused]) -> Result<()> {
        if refused.is_empty() {
            return Ok(());
        }
        let mut conn = self.db.acquire().await.map_err(pg::error)?;
        incidents::report(&mut conn, refused, berth_core::now()).await
    }

    async fn traces(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<ExportTraceServiceResponse> {
        let (_, extensions, mut export) = request.into_parts();
        if let Some(speaker) = self.admitted(&extensions, export.encoded_len()).await? {
            for part in &mut export.resource_spans {
                (part.resource, part.schema_url) = (Some(resource(speaker)), String::new());
            }
        }
        self.forward.send(Signal::Traces, &export);
        Ok(ExportTraceServiceResponse::default())
    }
}

/// What an export of a machine holds, from its bytes: the points within the limits,
/// and how many were beyond them. For those who throw damaged input at it.
///
/// # Errors
///
/// When the bytes are no export.
pub fn read(bytes: &[u8], now: DateTime<Utc>) -> Result<(Vec<Point>, i64), prost::DecodeError> {
    let mut export = ExportMetricsServiceRequest::decode(bytes)?;
    Ok(points::take(&mut export, now))
}

/// The placement that speaks; `None` for a service.
fn speaker(extensions: &Extensions) -> Result<Option<Speaker>> {
    Ok(match auth::peer(extensions)? {
        Peer::Service(_) => None,
        Peer::Placement {
            node_id,
            placement_id,
            fence,
        } => Some(Speaker {
            node_id: *node_id,
            placement_id: *placement_id,
            fence: *fence,
        }),
    })
}

/// Says in an export whose it is, and leaves out all else that its sender said of
/// itself.
fn own(speaker: Speaker, export: &mut ExportMetricsServiceRequest) {
    for part in &mut export.resource_metrics {
        (part.resource, part.schema_url) = (Some(resource(speaker)), String::new());
        for scope in &mut part.scope_metrics {
            (scope.scope, scope.schema_url) = (None, String::new());
            scope.metrics.retain(|metric| metric.data.is_some());
        }
    }
}

/// What the certificate says, instead of what the machine says.
fn resource(speaker: Speaker) -> Resource {
    let attribute = |key: &str, value: String| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(any_value::Value::StringValue(value)),
        }),
        ..KeyValue::default()
    };
    Resource {
        attributes: vec![
            attribute("service.name", "berth-agent".to_owned()),
            attribute("berth.node.id", speaker.node_id.to_string()),
            attribute("berth.placement.id", speaker.placement_id.to_string()),
            attribute("berth.fence", speaker.fence.to_string()),
        ],
        ..Resource::default()
    }
}

#[tonic::async_trait]
impl MetricsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        status::reply(self.metrics(request).await)
    }
}

#[tonic::async_trait]
impl LogsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        status::reply(self.logs(request).await)
    }
}

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        status::reply(self.traces(request).await)
    }
}
