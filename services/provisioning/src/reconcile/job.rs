//! A node's work under one claim: how it writes, and how it ends when it
//! cannot go on.

use super::{Context, Halt, lease, target};
use crate::catalogue;
use crate::domain::{ChainFiles, Event, Node, Placement, Side, State, Step};
use crate::store;
use berth_core::{Error, Result};
use berth_proto::inventory::v1 as inventory;
use berth_provisioner::Target;
use berth_provisioner::chain::ChainEntry;
use berth_runtime::reconcile::{Claim, Outcome, guard};
use berth_runtime::{clients, pg, wire};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a node that is being retired waits for a person.
const PERSON: Duration = Duration::from_secs(30);

/// A node, as it was when the step began, and the claim on its work.
#[derive(Clone)]
pub(super) struct Job<'a> {
    pub(super) context: &'a Context,
    pub(super) claim: &'a Claim,
    pub(super) node: Node,
    /// How long components of another version get to stop, which may stand yet.
    pub(super) stops: BTreeMap<String, Duration>,
}

/// A node's place on a machine.
pub(super) struct Here {
    pub(super) placement: Placement,
    pub(super) machine: inventory::Machine,
    pub(super) target: Target,
    /// When the lease ends unless it is extended.
    pub(super) expires: Option<DateTime<Utc>>,
}

impl Job<'_> {
    /// Writes, unless the claim was lost.
    pub(super) async fn commit<T>(
        &self,
        write: impl AsyncFnOnce(&mut PgConnection) -> Result<T>,
    ) -> Result<T> {
        let mut txn = self.context.db.begin().await.map_err(pg::error)?;
        guard(&mut txn, self.claim).await?;
        let written = write(&mut txn).await?;
        txn.commit().await.map_err(pg::error)?;
        Ok(written)
    }

    /// Reads.
    pub(super) async fn read<T>(
        &self,
        read: impl AsyncFnOnce(&mut PgConnection) -> Result<T>,
    ) -> Result<T> {
        let mut conn = self.context.db.acquire().await.map_err(pg::error)?;
        read(&mut conn).await
    }

    /// Tells watchers what happens now. Ends the step when the node changed:
    /// its owner wants something else.
    pub(super) async fn note(&self, step: Step) -> Result<()> {
        self.commit(async |txn| store::events::append(txn, &self.node, &step).await)
            .await
    }

    /// Changes the state; the same job with the changed node.
    pub(super) async fn apply(&self, event: Event, why: &str) -> Result<Self> {
        let node = self
            .commit(async |txn| store::nodes::apply(txn, &self.node, event, why).await)
            .await?;
        Ok(Self {
            node,
            ..self.clone()
        })
    }

    /// The same job with the node as it is now.
    pub(super) async fn renewed(&self) -> Result<Self> {
        let node = self
            .read(async |conn| store::nodes::load(conn, self.node.id).await)
            .await?;
        Ok(Self {
            node,
            ..self.clone()
        })
    }

    /// The same job as if the node had another version, to see what that would
    /// be.
    pub(super) fn with(&self, side: &Side) -> Self {
        let node = Node {
            chain_revision: side.revision,
            settings: side.settings.clone(),
            ..self.node.clone()
        };
        Self {
            node,
            ..self.clone()
        }
    }

    /// The chain's entry, as the node runs it.
    pub(super) async fn entry(&self) -> Result<ChainEntry> {
        let (id, revision) = (&self.node.chain_id, self.node.chain_revision);
        let chain = self
            .read(async |conn| store::chains::revision(conn, id, revision).await)
            .await?;
        catalogue::entry(&chain)
    }

    /// The files that the entry names.
    pub(super) async fn files(&self) -> Result<ChainFiles> {
        let (id, revision) = (&self.node.chain_id, self.node.chain_revision);
        self.read(async |conn| store::chains::files(conn, id, revision).await)
            .await
    }

    /// The current place of the node, while its lease lasts. `None` when the
    /// lease is over: then the node was fenced and failed here.
    pub(super) async fn here(&self) -> Result<Option<Here>, Halt> {
        let current = self
            .read(async |conn| store::placements::current(conn, self.node.id).await)
            .await?;
        let placement = current.ok_or_else(|| Error::internal("the node has no placement"))?;
        let found = lease::get(self.context, self.node.account_id, placement.lease_id).await?;
        if let Some(over) = lease::over(found.as_ref()) {
            self.commit(async |txn| lease::end(txn, &self.node, &over).await)
                .await?;
            return Ok(None);
        }
        let machine = self.context.others.machine(placement.machine_id).await?;
        let expires = found.and_then(|lease| lease.status?.expire_time);
        Ok(Some(Here {
            target: target(&machine)?,
            placement,
            machine,
            expires: expires
                .map(|time| wire::time("expire_time", time))
                .transpose()?,
        }))
    }

    /// What becomes of a step that cannot go on.
    pub(super) async fn halted(&self, halt: Halt) -> Result<Outcome> {
        match halt {
            Halt::Wait(outcome) => Ok(outcome),
            // The owner was faster: look again at what is wanted now.
            Halt::Error(Error::Conflict { .. }) => Ok(Outcome::Again),
            Halt::Error(error) => Err(error),
            Halt::Stranger(why) => {
                self.report_stranger(&why).await?;
                self.fail(&why).await
            }
            Halt::Fail(why) => self.fail(&why).await,
        }
    }

    /// Gives up, but for a node that is going away: that waits for a person.
    async fn fail(&self, why: &str) -> Result<Outcome> {
        if self.node.state == State::Retiring {
            return Ok(Outcome::wait(why, PERSON));
        }
        match self.apply(Event::Fail, why).await {
            // It signs nowhere any more: that is the work of FAILED.
            Ok(_) => Ok(Outcome::Again),
            Err(Error::Conflict { .. } | Error::Precondition { .. }) => Ok(Outcome::Again),
            Err(error) => Err(error),
        }
    }

    /// Tells inventory of a machine that is not what it was.
    async fn report_stranger(&self, why: &str) -> Result<()> {
        let latest = self
            .read(async |conn| store::placements::latest(conn, self.node.id).await)
            .await?;
        let Some(placement) = latest else {
            return Ok(());
        };
        let request = clients::request(inventory::ReportMachineProblemRequest {
            machine_id: placement.machine_id.to_string(),
            problem: why.chars().take(1000).collect(),
        });
        let mut fleet = self.context.others.fleet.clone();
        if let Err(status) = fleet.report_machine_problem(request).await {
            let machine = placement.machine_id;
            tracing::warn!(%machine, %status, "a machine's problem could not be reported");
        }
        Ok(())
    }
}
