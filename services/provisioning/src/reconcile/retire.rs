//! RETIRING: nothing is left of the node, on a machine or elsewhere.
//!
//! A machine is touched only while its lease lasts: afterwards it may be
//! somebody else's, and the wipe between leases removes what is left.

use super::halt::asked;
use super::job::Job;
use super::{Halt, lease, signer, target};
use crate::domain::{Event, Placement, PlacementEvent, PlacementState, Said, Step};
use crate::store;
use berth_core::Result;
use berth_proto::monitoring::v1::DeleteTargetRequest;
use berth_provisioner::spec::PlacementRef;
use berth_provisioner::wipe::WipeReport;
use berth_runtime::clients;
use berth_runtime::reconcile::Outcome;
use berth_runtime::wire;
use std::time::Duration;
use tonic::{Code, Status};

/// How often to look whether a machine was wiped.
const LOOK: Duration = Duration::from_secs(5);

/// One step.
pub(super) async fn step(job: &Job<'_>) -> Result<Outcome, Halt> {
    let unwiped = job
        .commit(async |txn| {
            store::placements::fence(txn, job.node.id).await?;
            store::placements::unwiped(txn, job.node.id).await
        })
        .await?;
    signer::release(job).await?;
    // The newest first: its fence covers what older ones left on its machine.
    if let Some(placement) = unwiped.first() {
        return clear(job, placement, &unwiped).await;
    }
    let context = job.context;
    job.note(Step::new("secrets", "deleting the node's keys"))
        .await?;
    context
        .vault
        .delete_node_secrets(&job.node.id.to_string())
        .await?;
    let forget = clients::request(DeleteTargetRequest {
        node_id: job.node.id.to_string(),
    });
    match context.others.targets.clone().delete_target(forget).await {
        Ok(_) => {}
        Err(status) if status.code() == Code::NotFound => {}
        Err(status) => return Err(asked("monitoring")(status)),
    }
    give_lease_back(job).await?;
    let gone = Said::nothing("");
    job.commit(async |txn| store::nodes::set_signals(txn, job.node.id, &gone, &[]).await)
        .await?;
    job.apply(Event::Vanish, "").await?;
    Ok(Outcome::Done)
}

/// Removes the node from one machine.
async fn clear(
    job: &Job<'_>,
    placement: &Placement,
    unwiped: &[Placement],
) -> Result<Outcome, Halt> {
    let context = job.context;
    let found = lease::get(context, job.node.account_id, placement.lease_id).await?;
    if lease::over(found.as_ref()).is_some() {
        return left_behind(job, placement).await;
    }
    let machine = context.others.machine(placement.machine_id).await?;
    let message = format!("removing the node from machine {}", machine.name);
    job.note(Step::new("wipe", message)).await?;
    let whose = PlacementRef {
        node_id: placement.node_id.to_string(),
        placement_id: placement.id.to_string(),
        fence: placement.fence.get(),
    };
    let report = context.site.wipe(&target(&machine)?, Some(&whose)).await?;
    let step = Step::new("wipe", summary(&report));
    let here = unwiped
        .iter()
        .filter(|p| p.machine_id == placement.machine_id);
    job.commit(async |txn| {
        for gone in here {
            store::placements::apply(txn, gone, PlacementEvent::Wipe).await?;
        }
        store::events::append(txn, &job.node, &step).await
    })
    .await?;
    Ok(Outcome::Again)
}

/// Waits for the wipe that follows a lease, but not for ever.
async fn left_behind(job: &Job<'_>, placement: &Placement) -> Result<Outcome, Halt> {
    let latest = job
        .read(async |conn| store::placements::get(conn, placement.id).await)
        .await?;
    let since = latest.fence_time.map_or(Duration::ZERO, |time| {
        (berth_core::now() - time).to_std().unwrap_or_default()
    });
    if latest.state == PlacementState::Fenced && since < job.context.options.abandon {
        let reason = format!(
            "waiting until {} was wiped after its lease",
            latest.machine_id
        );
        return Ok(Outcome::wait(reason, LOOK));
    }
    if latest.state == PlacementState::Fenced {
        let message = format!("{} was not wiped in time; left behind", latest.machine_id);
        job.commit(async |txn| {
            store::placements::apply(txn, &latest, PlacementEvent::Abandon).await?;
            store::events::append(txn, &job.node, &Step::new("wipe", message)).await
        })
        .await?;
    }
    Ok(Outcome::Again)
}

/// Ends the lease that was made for the node, also one whose answer never came.
async fn give_lease_back(job: &Job<'_>) -> Result<(), Halt> {
    let node = &job.node;
    if !node.owns_lease() {
        return Ok(());
    }
    let id = match node.lease_id {
        Some(id) => id,
        None if node.lease_asked => {
            let entry = job.entry().await?;
            match lease::ask(job.context, node, &entry).await {
                Ok(lease) => wire::parse("lease_id", &lease.unwrap_or_default().id)?,
                Err(status) if was_refused(&status) => return Ok(()),
                Err(status) => return Err(asked("leasing")(status)),
            }
        }
        None => return Ok(()),
    };
    job.note(Step::new("lease", "giving the machine back"))
        .await?;
    lease::give_back(job.context, node, id).await
}

/// Whether the answer means that no lease was ever made.
fn was_refused(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::ResourceExhausted | Code::InvalidArgument | Code::FailedPrecondition | Code::NotFound
    )
}

/// What a wipe removed, for people.
pub(super) fn summary(report: &WipeReport) -> String {
    format!(
        "removed {} containers, {} volumes, {} networks, {} images and {} files",
        report.containers.len(),
        report.volumes.len(),
        report.networks.len(),
        report.images.len(),
        report.files
    )
}
