//! Slow work: one step function a kind of work, which looks at the state and
//! hands over to the file of that state.
//!
//! A step takes an identifier and nothing else, may run twice, and every write
//! of it goes through [`Job::commit`], which checks the claim first.

mod deliver;
mod deploy;
mod drift;
mod gates;
mod halt;
mod job;
mod lease;
mod machine;
mod place;
mod retire;
mod run;
mod signer;
mod site;
mod stop;
mod sweep;
mod upgrade;
mod verify;
mod wipe;

pub(crate) use halt::{site_error, vault_error};
pub use site::{Action, Answer, Progress, Site};
pub(crate) use site::{VaultCredentials, target, with_port};

use crate::config::Config;
use crate::domain::State;
use crate::others::Others;
use crate::store;
use berth_core::{NodeId, Result};
use berth_provisioner::render::agent::{Control, Signer};
use berth_provisioner::spec::ImageRef;
use berth_runtime::pg;
use berth_runtime::reconcile::{Claim, Outcome, Reconciler};
use berth_secrets::Vault;
use halt::Halt;
use job::Job;
use sqlx::{PgConnection, PgPool};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Kind of work on a node.
pub const NODE: &str = "node";
/// Kind of work on a machine that inventory wants measured or wiped.
pub const MACHINE: &str = "machine";
/// Kind of work that looks for work on machines.
pub const SWEEP: &str = "sweep";

/// What all steps share; cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The service's database.
    pub db: PgPool,
    /// Machines.
    pub site: Arc<dyn Site>,
    /// The services that it asks.
    pub others: Others,
    /// Vault, for secrets and certificates.
    pub vault: Vault,
    /// What the operator decided.
    pub options: Arc<Options>,
}

/// What the operator decided.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder with one OCI image layout a folder.
    pub images: PathBuf,
    /// The agent's image; the layout `agent` when absent.
    pub agent_image: Option<ImageRef>,
    /// The control plane as an agent reaches it.
    pub control: Control,
    /// The signer as an agent reaches it, if there is one.
    pub signer: Option<Signer>,
    /// Time between two looks at a running node.
    pub watch: Duration,
    /// Time between two comparisons of a running node with what should stand.
    pub drift: Duration,
    /// Time between two measurements of the hardware of a leased machine.
    pub facts: Duration,
    /// When a machine whose lease is over counts as lost.
    pub abandon: Duration,
}

impl From<&Config> for Options {
    fn from(config: &Config) -> Self {
        Self {
            images: config.images.clone(),
            agent_image: config.agent_image.clone(),
            control: config.control(),
            signer: config.signer(),
            watch: Duration::from_secs(config.watch_seconds),
            drift: Duration::from_secs(config.drift_seconds),
            facts: Duration::from_secs(config.facts_seconds),
            abandon: Duration::from_secs(config.abandon_seconds),
        }
    }
}

/// The reconciler of this service.
#[must_use]
pub fn reconciler(context: &Context, concurrency: usize) -> Reconciler {
    let (node, machine, sweep) = (context.clone(), context.clone(), context.clone());
    Reconciler::new(context.db.clone(), concurrency)
        .on(NODE, move |claim| {
            let context = node.clone();
            Box::pin(async move { step(&context, &claim).await })
        })
        .on(MACHINE, move |claim| {
            let context = machine.clone();
            Box::pin(async move { machine::step(&context, &claim).await })
        })
        .on(SWEEP, move |_| {
            let context = sweep.clone();
            Box::pin(async move { sweep::step(&context).await })
        })
        .on_reason(|conn, claim, reason| Box::pin(keep_reason(conn, claim, reason)))
}

/// One step of a node's work.
async fn step(context: &Context, claim: &Claim) -> Result<Outcome> {
    let mut conn = context.db.acquire().await.map_err(pg::error)?;
    let node = store::nodes::load(&mut conn, NodeId::from(claim.object_id)).await?;
    drop(conn);
    let job = Job {
        context,
        claim,
        node,
        stops: BTreeMap::new(),
    };
    let done = match job.node.state {
        State::Pending | State::Placing => place::step(&job).await,
        State::Launching | State::Running | State::Degraded => upgrade::step(&job).await,
        State::Stopping => stop::step(&job).await,
        State::Stopped => stop::rest(&job).await,
        State::Retiring => retire::step(&job).await,
        State::Failed => signer::end(&job).await,
        State::Retired => Ok(Outcome::Done),
    };
    match done {
        Ok(outcome) => Ok(outcome),
        Err(halt) => job.halted(halt).await,
    }
}

/// Shows on the node why its work waits.
async fn keep_reason(conn: &mut PgConnection, claim: &Claim, reason: &str) -> Result<()> {
    if claim.kind != NODE {
        return Ok(());
    }
    store::nodes::set_reason(conn, NodeId::from(claim.object_id), reason).await
}

/// Makes the work that looks for work, once.
///
/// # Errors
///
/// Those of the database.
pub async fn begin(db: &PgPool) -> Result<()> {
    let mut conn = db.acquire().await.map_err(pg::error)?;
    store::work::ensure(&mut conn, SWEEP, Uuid::nil()).await
}
