//! Clients of the services that provisioning asks.

use berth_core::{AccountId, Error, MachineId, Result};
use berth_proto::inventory::v1::fleet_service_client::FleetServiceClient;
use berth_proto::inventory::v1::{Machine, ResolveMachineRequest};
use berth_proto::leasing::v1::leasing_service_client::LeasingServiceClient;
use berth_proto::monitoring::v1::monitoring_service_client::MonitoringServiceClient;
use berth_proto::monitoring::v1::target_service_client::TargetServiceClient;
use berth_proto::signing::v1::grant_service_client::GrantServiceClient;
use berth_proto::signing::v1::signing_service_client::SigningServiceClient;
use berth_proto::signing::v1::{
    GetValidatorRequest, PutChainRequest, SigningChain, SigningFork, Validator,
};
use berth_provisioner::chain::Pinned;
use berth_runtime::{clients, status};
use tonic::Status;
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
    /// Whose keys sign where, if there is a signer.
    pub signer: Option<Signer>,
}

/// The signer, as provisioning asks it; cheap to clone.
#[derive(Debug, Clone)]
pub struct Signer {
    /// Who may sign.
    pub grants: GrantServiceClient<Channel>,
    /// Validators.
    validators: SigningServiceClient<Channel>,
}

impl Signer {
    /// Says what a network is; the same again changes nothing.
    ///
    /// # Errors
    ///
    /// Those of the signer; it refuses another network under the same name.
    pub async fn put_chain(&self, name: &str, pinned: Pinned) -> std::result::Result<(), Status> {
        let request = clients::request(PutChainRequest {
            chain: Some(signing_chain(name, pinned)),
        });
        self.grants.clone().put_chain(request).await.map(|_| ())
    }

    /// A validator of an account.
    ///
    /// # Errors
    ///
    /// Those of the signer.
    pub async fn validator(&self, account: AccountId, public_key: &str) -> Result<Validator> {
        let message = GetValidatorRequest {
            public_key: public_key.to_owned(),
        };
        let request = clients::request_for(account, message);
        let answer = self.validators.clone().get_validator(request).await;
        let answer = answer.map_err(|status| status::to_error(&status))?;
        answer
            .into_inner()
            .validator
            .ok_or_else(|| Error::internal("the signer answered without a validator"))
    }
}

/// What the signer believes of a network.
fn signing_chain(name: &str, pinned: Pinned) -> SigningChain {
    let forks = pinned.forks.into_iter().map(|fork| SigningFork {
        name: fork.name,
        epoch: fork.epoch,
        version: fork.version.to_vec(),
    });
    SigningChain {
        name: name.to_owned(),
        genesis_validators_root: pinned.genesis_validators_root.to_vec(),
        genesis_time: pinned.genesis_time,
        seconds_per_slot: pinned.seconds_per_slot,
        preset: pinned.preset,
        forks: forks.collect(),
    }
}

impl Others {
    /// Clients over channels to leasing, inventory, monitoring and the signer.
    #[must_use]
    pub fn new(
        leasing: Channel,
        inventory: Channel,
        monitoring: Channel,
        signer: Option<Channel>,
    ) -> Self {
        Self {
            leasing: LeasingServiceClient::new(leasing),
            fleet: FleetServiceClient::new(inventory),
            monitoring: MonitoringServiceClient::new(monitoring.clone()),
            targets: TargetServiceClient::new(monitoring),
            signer: signer.map(|channel| Signer {
                grants: GrantServiceClient::new(channel.clone()),
                validators: SigningServiceClient::new(channel),
            }),
        }
    }

    /// Where a machine is and what is known of it.
    ///
    /// # Errors
    ///
    /// Those of inventory.
    pub async fn machine(&self, id: MachineId) -> Result<Machine> {
        self.resolve(id, String::new()).await
    }

    /// The same of a machine that this account lends.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] also for another account's machine.
    pub async fn machine_of(&self, account: AccountId, id: MachineId) -> Result<Machine> {
        self.resolve(id, account.to_string()).await
    }

    async fn resolve(&self, id: MachineId, account_id: String) -> Result<Machine> {
        let request = clients::request(ResolveMachineRequest {
            machine_id: id.to_string(),
            account_id,
        });
        let answer = self.fleet.clone().resolve_machine(request).await;
        let answer = answer.map_err(|status| {
            let error = status::to_error(&status);
            if let Error::Unavailable(_) = error {
                let why = format!("inventory does not answer: {}", status.message());
                Error::unavailable(why)
            } else {
                error
            }
        })?;
        answer
            .into_inner()
            .machine
            .ok_or_else(|| Error::internal("inventory answered without a machine"))
    }
}
