//! The monitoring API: one method an rpc, each a single call.

mod convert;
mod health;
mod incidents;
mod samples;
mod targets;

use berth_proto::monitoring::v1 as pb;
use berth_proto::monitoring::v1::incident_service_server::IncidentService;
use berth_proto::monitoring::v1::monitoring_service_server::MonitoringService;
use berth_proto::monitoring::v1::target_service_server::TargetService;
use berth_runtime::notices::Notices;
use berth_runtime::status::reply;
use futures::stream::BoxStream;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

/// Serves the API from a database.
#[derive(Debug, Clone)]
pub struct Api {
    db: PgPool,
    notices: Notices,
    stop: CancellationToken,
}

impl Api {
    /// Serves health from this database. Streams end with `stop`.
    #[must_use]
    pub fn new(db: PgPool, notices: Notices, stop: CancellationToken) -> Self {
        Self { db, notices, stop }
    }
}

#[tonic::async_trait]
impl MonitoringService for Api {
    type WatchHealthStream = BoxStream<'static, Result<pb::WatchHealthResponse, Status>>;

    async fn get_health(
        &self,
        request: Request<pb::GetHealthRequest>,
    ) -> Result<Response<pb::GetHealthResponse>, Status> {
        reply(health::get(self, request).await)
    }

    async fn watch_health(
        &self,
        request: Request<pb::WatchHealthRequest>,
    ) -> Result<Response<Self::WatchHealthStream>, Status> {
        reply(health::watch(self, request).await)
    }

    async fn query_samples(
        &self,
        request: Request<pb::QuerySamplesRequest>,
    ) -> Result<Response<pb::QuerySamplesResponse>, Status> {
        reply(samples::query(self, request).await)
    }
}

#[tonic::async_trait]
impl TargetService for Api {
    async fn put_target(
        &self,
        request: Request<pb::PutTargetRequest>,
    ) -> Result<Response<pb::PutTargetResponse>, Status> {
        reply(targets::put(self, request).await)
    }

    async fn delete_target(
        &self,
        request: Request<pb::DeleteTargetRequest>,
    ) -> Result<Response<pb::DeleteTargetResponse>, Status> {
        reply(targets::delete(self, request).await)
    }
}

#[tonic::async_trait]
impl IncidentService for Api {
    async fn list_incidents(
        &self,
        request: Request<pb::ListIncidentsRequest>,
    ) -> Result<Response<pb::ListIncidentsResponse>, Status> {
        reply(incidents::list(self, request).await)
    }

    async fn acknowledge_incident(
        &self,
        request: Request<pb::AcknowledgeIncidentRequest>,
    ) -> Result<Response<pb::AcknowledgeIncidentResponse>, Status> {
        reply(incidents::acknowledge(self, request).await)
    }
}
