//! What the signer is told of a node: which validators it has, and which
//! placement may sign.
//!
//! Before anything of a placement is made, the fence is raised there, so that no
//! older one signs from that commit on, and this one may. Whoever ends is fenced
//! without a grant. Every call carries a fence: the signer refuses a worker that
//! was overtaken.

use super::halt::asked;
use super::job::{Here, Job};
use super::{Halt, Outcome};
use crate::domain::{Event, Step};
use crate::others::Signer;
use crate::store;
use crate::store::placements::Place;
use berth_core::{Error, Fence, Result};
use berth_proto::signing::v1 as pb;
use berth_provisioner::chain::Pinned;
use berth_runtime::{clients, status};
use std::time::Duration;
use tonic::Status;

/// How long to wait before a signer that does not answer is told again that a
/// node ended.
const RETRY: Duration = Duration::from_secs(3);

/// Why the signer did not do it.
enum Refusal {
    /// It knows this fence, which is another one.
    Fenced(Fence),
    Halt(Halt),
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        if let Error::Fenced { want, .. } = status::to_error(&status) {
            Self::Fenced(want.into())
        } else {
            Self::Halt(asked("the signer")(status))
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Halt(error.into())
    }
}

/// Lets the placement sign, and no older one. Where the signer knows a higher
/// fence, the node goes on above it: our database was restored.
pub(super) async fn admit(job: &Job<'_>, here: &Here) -> Result<(), Halt> {
    let Some(signer) = signer(job)? else {
        return Ok(());
    };
    let pinned = job.entry().await?.signing().map_err(Halt::Fail)?;
    let admitted = tell(job, here, signer, pinned).await;
    match admitted {
        Ok(()) => Ok(()),
        Err(Refusal::Halt(halt)) => Err(halt),
        Err(Refusal::Fenced(known)) => Err(overtake(job, here, known).await?),
    }
}

async fn tell(job: &Job<'_>, here: &Here, signer: &Signer, pinned: Pinned) -> Result<(), Refusal> {
    let (node, fence) = (&job.node, here.placement.fence);
    let chain = &node.chain_id;
    let note = |message: String| job.note(Step::new("signer", message));
    note(format!("telling it what chain `{chain}` is")).await?;
    signer.put_chain(chain, pinned).await?;
    note(format!("naming {} validators", node.validators.len())).await?;
    bind(job, signer, &node.validators, fence).await?;
    note(format!("no placement below fence {fence} signs any more")).await?;
    advance(job, signer, fence).await?;
    note(format!("the placement of fence {fence} may sign")).await?;
    grant(job, signer, fence).await
}

/// Keeps the grant of a placement that runs, and gives it again to one that a
/// signer with an older database does not know.
pub(super) async fn keep(job: &Job<'_>, here: &Here) -> Result<(), Halt> {
    let Some(signer) = signer(job)? else {
        return Ok(());
    };
    match grant(job, signer, here.placement.fence).await {
        Ok(()) => Ok(()),
        Err(Refusal::Halt(halt)) => Err(halt),
        Err(Refusal::Fenced(_)) => admit(job, here).await,
    }
}

/// Lets nobody sign for the node, whether its machine can be reached or not.
/// The fence that the signer knows then; `None` where there is nothing to say.
pub(super) async fn withdraw(job: &Job<'_>) -> Result<Option<Fence>, Halt> {
    let latest = job
        .read(async |conn| store::placements::latest(conn, job.node.id).await)
        .await?;
    let (Some(signer), Some(latest)) = (signer(job)?, latest) else {
        return Ok(None);
    };
    job.note(Step::new("signer", "nobody signs for the node any more"))
        .await?;
    let fence = latest.fence.next();
    match advance(job, signer, fence).await {
        Ok(()) => Ok(Some(fence)),
        // Nothing as old as this placement signs then either.
        Err(Refusal::Fenced(known)) => Ok(Some(known)),
        Err(Refusal::Halt(halt)) => Err(halt),
    }
}

/// The same, and gives the validators back to their owner.
pub(super) async fn release(job: &Job<'_>) -> Result<(), Halt> {
    let Some(fence) = withdraw(job).await? else {
        return Ok(());
    };
    let Some(signer) = signer(job)? else {
        return Ok(());
    };
    match bind(job, signer, &[], fence).await {
        Ok(()) => Ok(()),
        Err(Refusal::Halt(halt)) => Err(halt),
        Err(Refusal::Fenced(known)) => Err(Halt::wait(format!(
            "the signer raised the fence to {known} meanwhile"
        ))),
    }
}

/// One step of FAILED: a node that has no place any more signs nowhere. Its
/// reason stays that of the failure.
pub(super) async fn end(job: &Job<'_>) -> Result<Outcome, Halt> {
    let current = job
        .read(async |conn| store::placements::current(conn, job.node.id).await)
        .await?;
    if current.is_some() {
        return Ok(Outcome::Done);
    }
    match withdraw(job).await {
        Ok(_) => Ok(Outcome::Done),
        Err(Halt::Wait(Outcome::Wait { reason, .. })) => {
            job.note(Step::new("signer", reason)).await?;
            Ok(Outcome::wait(job.node.status_reason.clone(), RETRY))
        }
        Err(halt) => Err(halt),
    }
}

/// The signer of a node that signs; nothing for others.
fn signer<'a>(job: &'a Job<'_>) -> Result<Option<&'a Signer>, Halt> {
    if job.node.validators.is_empty() {
        return Ok(None);
    }
    let signer = job.context.others.signer.as_ref();
    signer
        .map(Some)
        .ok_or_else(|| Halt::wait("this Berth has no signer any more; configure one"))
}

/// Places the node again where it is, above a fence that the signer knows.
async fn overtake(job: &Job<'_>, here: &Here, known: Fence) -> Result<Halt, Halt> {
    let own = here.placement.fence;
    if known <= own {
        return Err(Halt::wait(format!(
            "the signer refuses fence {own} and knows only {known}"
        )));
    }
    let why = format!(
        "the signer knows fence {known} and ours is {own}: was our database restored? going on above it"
    );
    job.commit(async |txn| {
        store::events::append(txn, &job.node, &Step::new("signer", why.as_str())).await?;
        let node = store::nodes::apply(txn, &job.node, Event::Trouble, &why).await?;
        store::placements::advance_above(txn, &node, &Place::from(&here.placement), known).await
    })
    .await?;
    Ok(Halt::Wait(Outcome::Again))
}

async fn bind(
    job: &Job<'_>,
    signer: &Signer,
    validators: &[String],
    fence: Fence,
) -> Result<(), Refusal> {
    let request = pb::BindValidatorsRequest {
        node_id: job.node.id.to_string(),
        account_id: job.node.account_id.to_string(),
        chain: job.node.chain_id.clone(),
        public_keys: validators.to_vec(),
        fence: fence.get(),
    };
    let request = clients::request(request);
    signer.grants.clone().bind_validators(request).await?;
    Ok(())
}

async fn advance(job: &Job<'_>, signer: &Signer, fence: Fence) -> Result<(), Refusal> {
    let request = pb::AdvanceFenceRequest {
        node_id: job.node.id.to_string(),
        account_id: job.node.account_id.to_string(),
        fence: fence.get(),
    };
    let request = clients::request(request);
    signer.grants.clone().advance_fence(request).await?;
    Ok(())
}

async fn grant(job: &Job<'_>, signer: &Signer, fence: Fence) -> Result<(), Refusal> {
    let request = clients::request(pb::GrantRequest {
        node_id: job.node.id.to_string(),
        fence: fence.get(),
    });
    signer.grants.clone().grant(request).await?;
    Ok(())
}
