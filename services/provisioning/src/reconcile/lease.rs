//! Leases, as the work on a node sees them.

use super::halt::asked;
use super::{Context, Halt, gates};
use crate::catalogue;
use crate::domain::{Event, Node, Said, Source, State};
use crate::store;
use berth_core::{AccountId, LeaseId, Result};
use berth_proto::leasing::v1 as pb;
use berth_proto::leasing::v1::lease_status::{CloseReason, State as LeaseState};
use berth_provisioner::chain::ChainEntry;
use berth_runtime::{clients, wire};
use chrono::TimeDelta;
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;
use tonic::{Code, Status};
use uuid::Uuid;

/// A lease of the account, if there is one.
pub(super) async fn get(
    context: &Context,
    account: AccountId,
    id: LeaseId,
) -> Result<Option<pb::Lease>, Halt> {
    let request = clients::request_for(
        account,
        pb::GetLeaseRequest {
            lease_id: id.to_string(),
        },
    );
    match context.others.leasing.clone().get_lease(request).await {
        Ok(answer) => Ok(answer.into_inner().lease),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(asked("leasing")(status)),
    }
}

/// Asks for the lease that belongs to the node. Asking again gets the same one:
/// the request's number follows from the node and the count of its leases.
pub(super) async fn ask(
    context: &Context,
    node: &Node,
    entry: &ChainEntry,
) -> Result<Option<pb::Lease>, Status> {
    let role = catalogue::role(node.role);
    let (offer_id, price) = match node.source {
        Source::Lease(_) => (String::new(), None),
        Source::Offer(offer) => (offer.to_string(), None),
        Source::Price(price) => (String::new(), Some(wire::money(price))),
    };
    let requirements = entry.requirements.get(&role).map(gates::requirements);
    let request = clients::request_for(
        node.account_id,
        pb::CreateLeaseRequest {
            request_id: request_id(node, "create").to_string(),
            spec: Some(pb::LeaseSpec {
                offer_id,
                requirements: requirements.filter(|_| price.is_some()),
                max_price_per_hour: price,
                term: Some(wire::duration(TimeDelta::seconds(node.term_seconds))),
                display_name: node.name.to_string(),
            }),
        },
    );
    let answer = context.others.leasing.clone().create_lease(request).await?;
    Ok(answer.into_inner().lease)
}

/// Ends the lease that was made for the node. One that is not there is over.
pub(super) async fn give_back(context: &Context, node: &Node, id: LeaseId) -> Result<(), Halt> {
    let request = clients::request_for(
        node.account_id,
        pb::EndLeaseRequest {
            request_id: request_id(node, "end").to_string(),
            lease_id: id.to_string(),
            etag: String::new(),
            reason: CloseReason::Unspecified.into(),
        },
    );
    match context.others.leasing.clone().end_lease(request).await {
        Ok(_) => Ok(()),
        Err(status) if status.code() == Code::NotFound => Ok(()),
        Err(status) => Err(asked("leasing")(status)),
    }
}

/// Why a lease is over, for people; nothing while it lasts.
pub(super) fn over(lease: Option<&pb::Lease>) -> Option<String> {
    let Some(lease) = lease else {
        return Some("the lease is not there".to_owned());
    };
    let status = lease.status.clone().unwrap_or_default();
    match status.state() {
        LeaseState::Pending | LeaseState::Active => None,
        LeaseState::Ending | LeaseState::Closed | LeaseState::Unspecified => {
            let why = match status.close_reason() {
                CloseReason::Owner => "by its owner",
                CloseReason::Expired => "its time was up; extend a lease before it ends",
                CloseReason::InsufficientFunds => "the account could not pay for it",
                CloseReason::Supplier => "its supplier withdrew the machine",
                CloseReason::MachineLost => "its machine was lost",
                CloseReason::NoCapacity => "no machine fitted",
                CloseReason::Unspecified => "no reason was given",
            };
            Some(format!("lease ended: {why}"))
        }
    }
}

/// Why a lease never began, where asking for another may do better later.
pub(super) fn never_began(lease: Option<&pb::Lease>) -> Option<String> {
    let status = lease?.status.as_ref()?;
    let retry = match status.close_reason() {
        CloseReason::NoCapacity | CloseReason::InsufficientFunds => status.start_time.is_none(),
        CloseReason::Unspecified
        | CloseReason::Owner
        | CloseReason::Expired
        | CloseReason::Supplier
        | CloseReason::MachineLost => false,
    };
    retry.then(|| status.status_reason.clone())
}

/// Fences a node whose lease is over, and fails it unless it is going away.
pub(super) async fn end(txn: &mut PgConnection, node: &Node, why: &str) -> Result<()> {
    store::placements::fence(txn, node.id).await?;
    let node = store::nodes::set_lease(txn, node, None).await?;
    store::nodes::set_signals(txn, node.id, &Said::nothing(""), &[]).await?;
    match node.state {
        State::Retiring | State::Retired => Ok(()),
        State::Pending
        | State::Placing
        | State::Launching
        | State::Running
        | State::Degraded
        | State::Stopping
        | State::Stopped
        | State::Failed => {
            store::nodes::apply(txn, &node, Event::Fail, why).await?;
            Ok(())
        }
    }
}

/// A number for a request that is the same whoever makes it, however often.
fn request_id(node: &Node, verb: &str) -> Uuid {
    let hash = Sha256::new()
        .chain_update(verb)
        .chain_update(node.id.uuid().as_bytes())
        .chain_update(node.lease_number.to_be_bytes())
        .finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}
