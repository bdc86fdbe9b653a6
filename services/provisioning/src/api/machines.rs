//! What those who lend machines need: to enroll one, and to empty one.

use super::{Api, convert, pb};
use crate::domain::{Node, Placement};
use crate::reconcile::{site_error, vault_error, with_port};
use crate::store;
use berth_core::{Error, MachineId, Name, NodeId, Result};
use berth_proto::leasing::v1::GetLeaseRequest;
use berth_provisioner::setup::{SetupInput, setup_command};
use berth_runtime::page::Page;
use berth_runtime::{auth, clients, pg, status, wire};
use prost_types::Timestamp;
use tonic::{Code, Request};

/// Longest address.
const MAX_ADDRESS: usize = 300;

pub(super) async fn scan_host_key(
    api: &Api,
    request: Request<pb::ScanHostKeyRequest>,
) -> Result<pb::ScanHostKeyResponse> {
    auth::account(&request)?;
    let address: String = wire::parse("address", &request.get_ref().address)?;
    let good = |b: u8| b.is_ascii_alphanumeric() || b".-:[]%".contains(&b);
    if address.len() > MAX_ADDRESS || !address.bytes().all(good) {
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

pub(super) async fn nodes(
    api: &Api,
    request: Request<pb::ListMachineNodesRequest>,
) -> Result<pb::ListMachineNodesResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let machine: MachineId = wire::parse("machine_id", &request.machine_id)?;
    let page = Page::parse(request.page_size, &request.page_token)?;
    let after = page.after_uuid()?.map(NodeId::from);
    api.others.machine_of(account, machine).await?;
    let mut conn = api.db.acquire().await.map_err(pg::error)?;
    // A machine holds a few nodes; of each the newest placement comes first.
    let mut placements = store::placements::on_machine(&mut conn, machine).await?;
    placements.dedup_by_key(|placement| placement.node_id);
    placements.retain(|placement| after.is_none_or(|after| placement.node_id > after));
    placements.truncate(usize::try_from(page.limit()).unwrap_or_default());
    let mut rows = Vec::new();
    for placement in placements {
        let node = store::nodes::load(&mut conn, placement.node_id).await?;
        rows.push((node, placement));
    }
    drop(conn);
    let (rows, next_page_token) = page.cut(rows, |(node, _)| node.id.uuid().to_string());
    let mut nodes = Vec::new();
    for (node, placement) in &rows {
        let end = lease_end(api, node, placement).await?;
        nodes.push(convert::machine_node(node, account, end));
    }
    Ok(pb::ListMachineNodesResponse {
        nodes,
        next_page_token,
    })
}

/// When the lease of a placement ends, asked in the name of its owner.
async fn lease_end(api: &Api, node: &Node, placement: &Placement) -> Result<Option<Timestamp>> {
    let request = clients::request_for(
        node.account_id,
        GetLeaseRequest {
            lease_id: placement.lease_id.to_string(),
        },
    );
    match api.others.leasing.clone().get_lease(request).await {
        Ok(answer) => {
            let lease = answer.into_inner().lease;
            Ok(lease.and_then(|lease| lease.status?.expire_time))
        }
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(status::to_error(&status)),
    }
}
