//! The work on nodes and machines, step by step.

mod drain;
mod drift;
mod life;
mod machines;
mod place;
mod run;
mod signer;
mod upgrade;

use crate::eventually::eventually;
use crate::outside::Known;
use crate::support::{Whole, fence, from, launch, reason, request_id, state, wish};
use berth_core::NodeId;
use berth_proto::inventory::v1 as inventory;
use berth_proto::inventory::v1::machine_work::Kind;
use berth_proto::leasing::v1::lease_status::{CloseReason, State as LeaseState};
use berth_proto::monitoring::v1::health::State as HealthState;
use berth_proto::provisioning::v1 as pb;
use berth_proto::provisioning::v1::node_status::State;
use berth_proto::provisioning::v1::provisioning_service_server::ProvisioningService as _;
use berth_provisioner::Error as SiteError;
use berth_provisioner::docker::ContainerState;
use berth_provisioning::reconcile;
use berth_provisioning::store::{MIGRATIONS, events};
use berth_runtime::reconcile::wake;
use futures::StreamExt as _;
use sqlx::PgPool;
use std::collections::BTreeSet;
use tokio::task::JoinSet;
use tonic::{Code, Status};

fn unreachable() -> SiteError {
    SiteError::Unreachable {
        address: "192.0.2.7:22".to_owned(),
        why: "as scripted".to_owned(),
    }
}

fn full() -> SiteError {
    SiteError::NoSpace {
        what: "pull an image",
    }
}

fn stranger() -> SiteError {
    SiteError::HostKeyChanged {
        expected: "SHA256:a".to_owned(),
        seen: "SHA256:b".to_owned(),
    }
}

async fn running(db: PgPool) -> Whole {
    let all = Whole::new(db).await;
    launch(&all.api, all.account, "n1").await;
    all.until_state("n1", State::Running).await;
    all
}

async fn steps(all: &Whole) -> Vec<String> {
    let id: NodeId = all.node("n1").await.id.parse().unwrap();
    let mut conn = all.api.db.acquire().await.unwrap();
    let all = events::after(&mut conn, id, 0).await.unwrap();
    all.into_iter()
        .map(|event| format!("{} {}", event.step, event.message))
        .collect()
}

async fn stop(all: &Whole) {
    let message = pb::StopNodeRequest {
        request_id: request_id(),
        node_id: "n1".to_owned(),
    };
    all.api.stop_node(from(all.account, message)).await.unwrap();
}

async fn start(all: &Whole) {
    let message = pb::StartNodeRequest {
        request_id: request_id(),
        node_id: "n1".to_owned(),
    };
    all.api
        .start_node(from(all.account, message))
        .await
        .unwrap();
}

async fn retry(all: &Whole) -> Result<(), Status> {
    let message = pb::RetryNodeRequest {
        request_id: request_id(),
        node_id: "n1".to_owned(),
    };
    all.api
        .retry_node(from(all.account, message))
        .await
        .map(drop)
}

async fn retire(all: &Whole) {
    let message = pb::RetireNodeRequest {
        request_id: request_id(),
        node_id: "n1".to_owned(),
    };
    all.api
        .retire_node(from(all.account, message))
        .await
        .unwrap();
}
