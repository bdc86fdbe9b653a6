//! The provisioning API: one method per rpc, each a single call.

mod chains;
mod convert;
mod launch;
mod logs;
mod machines;
mod nodes;
mod onchain;
mod placements;
mod upgrade;
mod validators;
mod watch;

use crate::others::Others;
use crate::reconcile::Site;
use berth_proto::provisioning::v1 as pb;
use berth_proto::provisioning::v1::placement_service_server::PlacementService;
use berth_proto::provisioning::v1::provisioning_service_server::ProvisioningService;
use berth_runtime::notices::Notices;
use berth_runtime::status::{self, reply};
use berth_secrets::Vault;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use sqlx::PgPool;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

/// Serves the API from a database.
#[derive(Clone)]
pub struct Api {
    /// The service's database.
    pub db: PgPool,
    /// What changed, for those who watch.
    pub notices: Notices,
    /// Machines, for logs and enrollment.
    pub site: Arc<dyn Site>,
    /// The services that it asks.
    pub others: Others,
    /// Vault, for certificates.
    pub vault: Vault,
    /// Ends the streams.
    pub stop: CancellationToken,
}

type Streamed<T> = BoxStream<'static, Result<T, Status>>;

#[tonic::async_trait]
impl ProvisioningService for Api {
    type WatchNodeStream = Streamed<pb::WatchNodeResponse>;
    type StreamNodeLogsStream = Streamed<pb::StreamNodeLogsResponse>;

    async fn get_chain(
        &self,
        request: Request<pb::GetChainRequest>,
    ) -> Result<Response<pb::GetChainResponse>, Status> {
        reply(chains::get(self, request).await)
    }

    async fn list_chains(
        &self,
        request: Request<pb::ListChainsRequest>,
    ) -> Result<Response<pb::ListChainsResponse>, Status> {
        reply(chains::list(self, request).await)
    }

    async fn register_chain(
        &self,
        request: Request<pb::RegisterChainRequest>,
    ) -> Result<Response<pb::RegisterChainResponse>, Status> {
        reply(chains::register(self, request).await)
    }

    async fn pin_chain(
        &self,
        request: Request<pb::PinChainRequest>,
    ) -> Result<Response<pb::PinChainResponse>, Status> {
        reply(chains::pin(self, request).await)
    }

    async fn launch_node(
        &self,
        request: Request<pb::LaunchNodeRequest>,
    ) -> Result<Response<pb::LaunchNodeResponse>, Status> {
        reply(launch::launch(self, request).await)
    }

    async fn get_node(
        &self,
        request: Request<pb::GetNodeRequest>,
    ) -> Result<Response<pb::GetNodeResponse>, Status> {
        reply(nodes::get(self, request).await)
    }

    async fn list_nodes(
        &self,
        request: Request<pb::ListNodesRequest>,
    ) -> Result<Response<pb::ListNodesResponse>, Status> {
        reply(nodes::list(self, request).await)
    }

    async fn update_node(
        &self,
        request: Request<pb::UpdateNodeRequest>,
    ) -> Result<Response<pb::UpdateNodeResponse>, Status> {
        reply(nodes::update(self, request).await)
    }

    async fn upgrade_node(
        &self,
        request: Request<pb::UpgradeNodeRequest>,
    ) -> Result<Response<pb::UpgradeNodeResponse>, Status> {
        reply(upgrade::upgrade(self, request).await)
    }

    async fn stop_node(
        &self,
        request: Request<pb::StopNodeRequest>,
    ) -> Result<Response<pb::StopNodeResponse>, Status> {
        reply(nodes::stop(self, request).await)
    }

    async fn start_node(
        &self,
        request: Request<pb::StartNodeRequest>,
    ) -> Result<Response<pb::StartNodeResponse>, Status> {
        reply(nodes::start(self, request).await)
    }

    async fn retry_node(
        &self,
        request: Request<pb::RetryNodeRequest>,
    ) -> Result<Response<pb::RetryNodeResponse>, Status> {
        reply(nodes::retry(self, request).await)
    }

    async fn retire_node(
        &self,
        request: Request<pb::RetireNodeRequest>,
    ) -> Result<Response<pb::RetireNodeResponse>, Status> {
        reply(nodes::retire(self, request).await)
    }

    async fn watch_node(
        &self,
        request: Request<pb::WatchNodeRequest>,
    ) -> Result<Response<Self::WatchNodeStream>, Status> {
        reply(watch::watch(self, request).await.map(with_status))
    }

    async fn stream_node_logs(
        &self,
        request: Request<pb::StreamNodeLogsRequest>,
    ) -> Result<Response<Self::StreamNodeLogsStream>, Status> {
        reply(logs::stream(self, request).await.map(with_status))
    }

    async fn scan_host_key(
        &self,
        request: Request<pb::ScanHostKeyRequest>,
    ) -> Result<Response<pb::ScanHostKeyResponse>, Status> {
        reply(machines::scan_host_key(self, request).await)
    }

    async fn get_machine_setup(
        &self,
        request: Request<pb::GetMachineSetupRequest>,
    ) -> Result<Response<pb::GetMachineSetupResponse>, Status> {
        reply(machines::setup(self, request).await)
    }

    async fn list_machine_nodes(
        &self,
        request: Request<pb::ListMachineNodesRequest>,
    ) -> Result<Response<pb::ListMachineNodesResponse>, Status> {
        reply(machines::nodes(self, request).await)
    }

    async fn get_validator_on_chain(
        &self,
        request: Request<pb::GetValidatorOnChainRequest>,
    ) -> Result<Response<pb::GetValidatorOnChainResponse>, Status> {
        reply(onchain::get(self, request).await)
    }

    async fn publish_voluntary_exit(
        &self,
        request: Request<pb::PublishVoluntaryExitRequest>,
    ) -> Result<Response<pb::PublishVoluntaryExitResponse>, Status> {
        reply(onchain::publish(self, request).await)
    }
}

#[tonic::async_trait]
impl PlacementService for Api {
    async fn renew_certificate(
        &self,
        request: Request<pb::RenewCertificateRequest>,
    ) -> Result<Response<pb::RenewCertificateResponse>, Status> {
        reply(placements::renew(self, request).await)
    }
}

/// A stream of results as tonic wants it.
fn with_status<T: 'static>(stream: BoxStream<'static, berth_core::Result<T>>) -> Streamed<T> {
    stream
        .map(|item| item.map_err(|error| status::from_error(&error)))
        .boxed()
}
