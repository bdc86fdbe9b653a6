//! Clients of the services that provisioning asks.

use berth_core::{MachineId, Result};
use berth_proto::inventory::v1::fleet_service_client::FleetServiceClient;
use berth_proto::inventory::v1::{Machine, ResolveMachineRequest};
use berth_proto::leasing::v1::leasing_service_client::LeasingServiceClient;
use berth_proto::monitoring::v1::monitoring_service_client::MonitoringServiceClient;
use berth_proto::monitoring::v1::target_service_client::TargetServiceClient;
use berth_runtime::{clients, status};
use tonic::transport::Channel;

/// The services that provisioning asks; cheap to clone.
#[derive(Debug, Clone)]
pub struct Others {
    /// Leases.
    pub leasing: LeasingServiceClient<Channel>,
    /// Machines.
    pub fleet: FleetServiceClient<Channel>,
    /// Health.
    pub monitoring: MonitoringServiceClient<Channel>,
    /// What monitoring is to expect.
    pub targets: TargetServiceClient<Channel>,
}

impl Others {
    /// Clients over channels to leasing, inventory and monitoring.
    #[must_use]
    pub fn new(leasing: Channel, inventory: Channel, monitoring: Channel) -> Self {
        Self {
            leasing: LeasingServiceClient::new(leasing),
            fleet: FleetServiceClient::new(inventory),
            monitoring: MonitoringServiceClient::new(monitoring.clone()),
            targets: TargetServiceClient::new(monitoring),
        }
    }

    /// Where a machine is and what is known of it.
    ///
    /// # Errors
    ///
    /// Those of inventory.
    pub async fn machine(&self, id: MachineId) -> Result<Machine> {
        let request = clients::request(ResolveMachineRequest {
            machine_id: id.to_string(),
        });
        let answer = self.fleet.clone().resolve_machine(request).await;
        let answer = answer.map_err(|status| status::to_error(&status))?;
        answer
            .into_inner()
            .machine
            .ok_or_else(|| berth_core::Error::internal("inventory answered without a machine"))
    }
}
