//! What a person needs while enrolling a machine.

use super::{Api, pb};
use crate::reconcile::{site_error, vault_error, with_port};
use berth_core::{Error, MachineId, Name, Result};
use berth_provisioner::setup::{SetupInput, setup_command};
use berth_runtime::{auth, wire};
use tonic::Request;

/// Longest address.
const MAX_ADDRESS: usize = 300;

pub(super) async fn scan_host_key(
    api: &Api,
    request: Request<pb::ScanHostKeyRequest>,
) -> Result<pb::ScanHostKeyResponse> {
    auth::account(&request)?;
    let address: String = wire::parse("address", &request.get_ref().address)?;
    if address.len() > MAX_ADDRESS || address.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(Error::invalid("address", "expected `address:port`"));
    }
    let key = api
        .site
        .scan(&with_port(&address))
        .await
        .map_err(site_error)?;
    Ok(pb::ScanHostKeyResponse {
        host_key: key.to_string(),
        fingerprint: key.fingerprint().to_string(),
    })
}

pub(super) async fn setup(
    api: &Api,
    request: Request<pb::GetMachineSetupRequest>,
) -> Result<pb::GetMachineSetupResponse> {
    auth::account(&request)?;
    let request = request.into_inner();
    let machine: MachineId = wire::parse("machine_id", &request.machine_id)?;
    let user: Option<Name> = wire::parse_optional("user", &request.user)?;
    let ca_public_key = api.vault.ssh_ca_public_key().await.map_err(vault_error)?;
    let command = setup_command(&SetupInput {
        machine_id: &machine.to_string(),
        user: user.as_ref().map_or("berth", Name::as_str),
        ca_public_key: &ca_public_key,
    })
    .map_err(|problem| Error::invalid("user", problem))?;
    Ok(pb::GetMachineSetupResponse { command })
}
