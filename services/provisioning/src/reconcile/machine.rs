//! Work on a machine for inventory: what it is now is asked of inventory, so
//! that nothing about it is kept here.

use super::halt::Halt;
use super::{Context, sweep, verify, wipe};
use berth_core::{MachineId, Result};
use berth_proto::inventory::v1::machine_work::Kind;
use berth_runtime::reconcile::{Claim, Outcome};

/// One step.
pub(super) async fn step(context: &Context, claim: &Claim) -> Result<Outcome> {
    let id = MachineId::from(claim.object_id);
    let work = sweep::list(context).await?.into_iter();
    let mut work = work.filter(|w| w.machine.as_ref().is_some_and(|m| m.id == id.to_string()));
    let Some(work) = work.next() else {
        return Ok(Outcome::Done);
    };
    let done = match work.kind() {
        Kind::Verify => verify::step(context, &work).await,
        Kind::Wipe => wipe::step(context, claim, &work).await,
        Kind::Unspecified => Ok(Outcome::Done),
    };
    match done {
        Ok(outcome) => Ok(outcome),
        Err(Halt::Wait(outcome)) => Ok(outcome),
        Err(Halt::Error(error)) => Err(error),
        // Inventory has called the work off, or begun it anew.
        Err(Halt::Fail(why) | Halt::Stranger(why)) => {
            tracing::info!(machine = %id, why, "a result came too late");
            Ok(Outcome::Done)
        }
    }
}
