//! After a lease, and before a machine is measured, nothing of Berth's stays on
//! it.
//!
//! Whatever is current there is fenced first: from that commit on it may not
//! act, whether the machine can be reached or not.

use super::halt::{Halt, asked, may_pass};
use super::{Context, NODE, lease, retire, target, verify};
use crate::domain::{Placement, PlacementEvent, PlacementState};
use crate::store;
use berth_core::{MachineId, Result};
use berth_proto::inventory::v1 as pb;
use berth_runtime::reconcile::{Claim, Outcome, guard, wake};
use berth_runtime::{clients, pg};
use std::time::Duration;

/// How long to wait for a machine that cannot be reached.
const RETRY: Duration = Duration::from_secs(5);

/// One step.
pub(super) async fn step(
    context: &Context,
    claim: &Claim,
    work: &pb::MachineWork,
) -> Result<Outcome, Halt> {
    let machine = work.machine.clone().unwrap_or_default();
    let machine_id = MachineId::from(claim.object_id);
    fence_all(context, claim, machine_id).await?;
    still_ours(context, claim).await?;

    let mut record = pb::RecordWipeRequest {
        machine_id: machine.id.clone(),
        attempt: work.attempt,
        ..pb::RecordWipeRequest::default()
    };
    match context.site.wipe(&target(&machine)?, None).await {
        Ok(report) => {
            record.report = retire::summary(&report);
            wiped(context, claim, machine_id).await?;
        }
        Err(error) => {
            record.problem = verify::text(&error);
            record.transient = may_pass(&error);
        }
    }
    let again = record.transient;
    let reason = record.problem.clone();
    let answer = context
        .others
        .fleet
        .clone()
        .record_wipe(clients::request(record))
        .await;
    answer.map_err(asked("inventory"))?;
    Ok(if again {
        Outcome::wait(reason, RETRY)
    } else {
        Outcome::Done
    })
}

/// Fences every placement on the machine, and tells its node why.
async fn fence_all(context: &Context, claim: &Claim, machine_id: MachineId) -> Result<()> {
    for placement in placements(context, machine_id).await? {
        if placement.state != PlacementState::Current {
            continue;
        }
        let mut txn = context.db.begin().await.map_err(pg::error)?;
        guard(&mut txn, claim).await?;
        // Work before node: the order in which everybody locks them.
        wake(&mut txn, NODE, placement.node_id.uuid()).await?;
        let node = store::nodes::lock(&mut txn, placement.node_id).await?;
        let now = store::placements::get(&mut txn, placement.id).await?;
        if now.state == PlacementState::Current {
            lease::end(&mut txn, &node, "lease ended: its machine is being wiped").await?;
        }
        txn.commit().await.map_err(pg::error)?;
    }
    Ok(())
}

/// Keeps a worker that was paused from wiping what came since.
async fn still_ours(context: &Context, claim: &Claim) -> Result<()> {
    let mut conn = context.db.acquire().await.map_err(pg::error)?;
    guard(&mut conn, claim).await
}

/// Notes that nothing is left of the placements on the machine.
async fn wiped(context: &Context, claim: &Claim, machine_id: MachineId) -> Result<()> {
    let placements = placements(context, machine_id).await?;
    let mut txn = context.db.begin().await.map_err(pg::error)?;
    guard(&mut txn, claim).await?;
    for placement in &placements {
        store::placements::apply(&mut txn, placement, PlacementEvent::Wipe).await?;
    }
    txn.commit().await.map_err(pg::error)
}

async fn placements(context: &Context, machine_id: MachineId) -> Result<Vec<Placement>> {
    let mut conn = context.db.acquire().await.map_err(pg::error)?;
    store::placements::on_machine(&mut conn, machine_id).await
}
