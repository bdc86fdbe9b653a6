//! Looks for machines that inventory wants measured or wiped, and makes work of
//! them.

use super::{Context, MACHINE};
use crate::store;
use berth_core::{MachineId, Result};
use berth_proto::inventory::v1 as pb;
use berth_runtime::reconcile::Outcome;
use berth_runtime::{clients, pg, status, wire};
use std::time::Duration;

/// How often.
const LOOK: Duration = Duration::from_secs(1);
/// Most machines at once; the oldest come first.
const MOST: i32 = 200;

/// One step.
pub(super) async fn step(context: &Context) -> Result<Outcome> {
    let work = match list(context).await {
        Ok(work) => work,
        // Inventory starts when we do; that it is not there yet is no news.
        Err(error) => return Ok(Outcome::wait(berth_core::report(&error), LOOK)),
    };
    let mut conn = context.db.acquire().await.map_err(pg::error)?;
    for machine in work.iter().filter_map(|work| work.machine.as_ref()) {
        let id: MachineId = wire::parse("machine.id", &machine.id)?;
        store::work::ensure(&mut conn, MACHINE, id.uuid()).await?;
    }
    Ok(Outcome::wait("", LOOK))
}

/// What waits for us.
pub(super) async fn list(context: &Context) -> Result<Vec<pb::MachineWork>> {
    let request = clients::request(pb::ListMachineWorkRequest { page_size: MOST });
    let answer = context
        .others
        .fleet
        .clone()
        .list_machine_work(request)
        .await;
    let answer = answer.map_err(|status| status::to_error(&status))?;
    Ok(answer.into_inner().work)
}
