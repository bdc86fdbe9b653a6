//! STOPPING and STOPPED: the containers stand still, and the data stays.

use super::job::{Here, Job};
use super::run::{components, expect};
use super::{Action, Halt, deploy, signer};
use crate::domain::{Component, Event, Said, Step};
use crate::store;
use berth_core::Result;
use berth_provisioner::docker::ContainerState;
use berth_runtime::reconcile::Outcome;
use std::time::Duration;

/// How often to look whether the lease of a stopped node lasts.
const REST: Duration = Duration::from_secs(15);

/// One step of STOPPING.
pub(super) async fn step(job: &Job<'_>) -> Result<Outcome, Halt> {
    let stopped = match job.here().await {
        Ok(Some(here)) => containers(job, &here).await,
        Ok(None) => return Ok(Outcome::Again),
        Err(halt) => Err(halt),
    };
    // A machine that cannot be reached signs no more either.
    signer::withdraw(job).await?;
    let seen = stopped?;
    job.commit(async |txn| {
        store::nodes::set_signals(txn, job.node.id, &Said::nothing("stopped"), &seen).await?;
        store::nodes::apply(txn, &job.node, Event::Halt, "").await
    })
    .await?;
    Ok(Outcome::Again)
}

/// Stops the containers, and says how they stand then.
async fn containers(job: &Job<'_>, here: &Here) -> Result<Vec<Component>, Halt> {
    // Monitoring first, or it would take what it is about to see for a fault.
    expect(job, here, false).await?;
    let deployment = deploy::rendered(job, here).await?;
    let (site, at) = (&job.context.site, &here.target);
    let seen = site.observe(at, &deployment.placement).await?;
    for container in seen.containers.iter().rev() {
        if matches!(
            container.state,
            ContainerState::Running | ContainerState::Restarting
        ) {
            let name = &container.name;
            job.note(Step::new("containers", format!("stopping {name}")))
                .await?;
            let patience = deploy::patience(&deployment, name);
            site.act(at, &deployment, Action::Stop(name, patience))
                .await?;
        }
    }
    Ok(components(&site.observe(at, &deployment.placement).await?))
}

/// One step of STOPPED.
pub(super) async fn rest(job: &Job<'_>) -> Result<Outcome, Halt> {
    Ok(match job.here().await? {
        Some(_) => Outcome::wait("", REST),
        None => Outcome::Again,
    })
}
