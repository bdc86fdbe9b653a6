//! What the signer is told of a node: which validators it has, and which
//! placement may sign.
//!
//! Before anything of a placement is made, the fence is raised there, so that no
//! older one signs from that commit on, and this one may. Whoever ends is fenced
//! without a grant. Every call carries a fence, may come twice, and may come late:
//! the signer refuses a worker that was overtaken, and one that is not looks at its
//! claim before it goes above a fence that it did not make.

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

/// Keeps the grant of a placement that runs, and tells all of it again to a
/// signer that does not know it, because its database is older or ours is.
pub(super) async fn keep(job: &Job<'_>, here: &Here) -> Result<(), Halt> {
    let Some(signer) = signer(job)? else {
        return Ok(());
    };
    match grant(job, signer, here.placement.fence).await {
        Ok(()) => Ok(()),
        Err(Refusal::Fenced(_) | Refusal::Halt(Halt::Fail(_))) => admit(job, here).await,
        Err(Refusal::Halt(halt)) => Err(halt),
    }
}

/// Lets nobody sign for the node, whether its machine can be reached or not.
/// The fence that the signer knows then; `None` where nothing signs.
pub(super) async fn withdraw(job: &Job<'_>) -> Result<Option<Fence>, Halt> {
    let Some(signer) = signer(job)? else {
        return Ok(None);
    };
    let latest = job
        .read(async |conn| store::placements::latest(conn, job.node.id).await)
        .await?;
    let own = latest.map_or(Fence::NONE, |latest| latest.fence).next();
    job.note(Step::new("signer", "nobody signs for the node any more"))
        .await?;
    let raised = match advance(job, signer, own).await {
        // Our database lost the placement that has it, and may sign. Or we were
        // overtaken, and this is as far as we come.
        Err(Refusal::Fenced(known)) => {
            let message = format!("the signer knows fence {known}: nobody signs under it either");
            job.note(Step::new("signer", message)).await?;
            let above = known.next();
            advance(job, signer, above).await.map(|()| above)
        }
        raised => raised.map(|()| own),
    };
    raised.map(Some).map_err(settle)
}

/// The same, and gives the validators back to their owner.
pub(super) async fn release(job: &Job<'_>) -> Result<(), Halt> {
    let (Some(fence), Some(signer)) = (withdraw(job).await?, signer(job)?) else {
        return Ok(());
    };
    bind(job, signer, &[], fence).await.map_err(settle)
}

/// One step of FAILED: the node signs nowhere until a person tried it again. Its
/// reason stays that of the failure.
pub(super) async fn end(job: &Job<'_>) -> Result<Outcome, Halt> {
    match withdraw(job).await {
        Ok(_) => Ok(Outcome::Done),
        Err(Halt::Wait(Outcome::Wait { reason, .. }) | Halt::Fail(reason)) => {
            job.note(Step::new("signer", reason)).await?;
            Ok(Outcome::wait(job.node.status_reason.clone(), RETRY))
        }
        Err(halt) => Err(halt),
    }
}

/// What becomes of a call under a fence that was made for it.
fn settle(refusal: Refusal) -> Halt {
    match refusal {
        Refusal::Halt(halt) => halt,
        Refusal::Fenced(known) => {
            Halt::wait(format!("the signer raised the fence to {known} meanwhile"))
        }
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
