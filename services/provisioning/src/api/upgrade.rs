//! Upgrading a node: everything is checked before anything is written.

use super::{Api, convert, nodes, pb};
use crate::catalogue;
use crate::domain::{Chain, Event, Node, Role, Side, State, Step, Upgrade};
use crate::store;
use berth_core::{Error, NodeId, Resource, Result, Violations, text};
use berth_provisioner::chain::ChainEntry;
use berth_runtime::once::{self, once};
use berth_runtime::{auth, pg, wire};
use sqlx::PgConnection;
use std::collections::BTreeMap;
use tonic::Request;

/// Longest version of a chain's entry.
const MAX_VERSION: usize = 80;
/// Most settings that a request may change, and most that it may remove.
const MAX_SETTINGS: usize = 100;

/// An upgrade that can be made.
pub(super) struct Plan {
    pub(super) role: Role,
    pub(super) old: ChainEntry,
    pub(super) new: ChainEntry,
    pub(super) reversible: bool,
    from: Side,
    to: Side,
}

impl Plan {
    /// Whether the node could go back, for people.
    pub(super) fn reversible_because(&self) -> String {
        let (old, new) = (&self.old.version, &self.new.version);
        if self.reversible {
            format!("version {old} can read what version {new} leaves on the volumes")
        } else {
            format!(
                "version {new} does not name {old} in `rollback_to`: its data is not known to be \
                 readable by it"
            )
        }
    }
}

pub(super) async fn upgrade(
    api: &Api,
    request: Request<pb::UpgradeNodeRequest>,
) -> Result<pb::UpgradeNodeResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    check(&request)?;
    if request.validate_only {
        let mut conn = api.db.acquire().await.map_err(pg::error)?;
        let node = nodes::find(&mut conn, account, &request.node_id).await?;
        let plan = plan(&mut conn, &node, &request).await?;
        return Ok(pb::UpgradeNodeResponse {
            node: Some(nodes::described(&mut conn, &node).await?),
            plan: Some(convert::plan(&plan)),
        });
    }
    let id: NodeId = once(
        &api.db,
        account,
        &request.request_id,
        &request,
        async |txn| {
            let node = nodes::take(txn, account, &request.node_id).await?;
            let plan = plan(txn, &node, &request).await?;
            begin(txn, &node, plan).await?;
            Ok(node.id)
        },
    )
    .await?;
    Ok(pb::UpgradeNodeResponse {
        node: Some(nodes::answer(api, account, id).await?),
        plan: None,
    })
}

/// What is wrong with a request, whatever node it is of.
fn check(request: &pb::UpgradeNodeRequest) -> Result<()> {
    let mut wrong = Violations::default();
    wrong.absorb(once::check(&request.request_id))?;
    wrong.check("version", text(&request.version, MAX_VERSION));
    for (field, count) in [
        ("settings", request.settings.len()),
        ("removed_settings", request.removed_settings.len()),
    ] {
        if count > MAX_SETTINGS {
            wrong.add(field, format!("must be at most {MAX_SETTINGS}"));
        }
    }
    wrong.finish(Some(()))
}

/// A node that stands still has the new version from now on; one that runs comes
/// to it in steps.
async fn begin(txn: &mut PgConnection, node: &Node, plan: Plan) -> Result<()> {
    if node.state == State::Stopped {
        let node = store::nodes::set_side(txn, node, &plan.to).await?;
        let message = format!(
            "version {} takes the place of {} from the next start on",
            plan.to.version, plan.from.version
        );
        return store::events::append(txn, &node, &Step::new("upgrade", message)).await;
    }
    let now = berth_core::now();
    let upgrade = Upgrade::begin(plan.from, plan.to, plan.reversible, now);
    store::upgrades::begin(txn, node, &upgrade).await
}

/// What would be done, or why not.
async fn plan(
    conn: &mut PgConnection,
    node: &Node,
    request: &pb::UpgradeNodeRequest,
) -> Result<Plan> {
    wire::check_etag(Resource::Node, "etag", &request.etag, node.version)?;
    node.apply(Event::Upgrade)?;
    nodes::refuse_upgrading(conn, node).await?;
    let now = store::chains::revision(conn, &node.chain_id, node.chain_revision).await?;
    let target = target(conn, node, &request.version).await?;
    let (old, new) = (catalogue::entry(&now)?, catalogue::entry(&target)?);
    let settings = settings(node, request)?;
    check_entry(node, &old, &new)?;
    check_settings(node, &new, &settings)?;
    if target.revision < node.chain_revision && !catalogue::reads(&new.version, &old) {
        let problem = format!(
            "is older than {}, which does not name it in `rollback_to`: the node's data is not \
             known to be readable by it",
            old.version
        );
        return Err(Error::invalid("version", problem));
    }
    if node.state == State::Stopped {
        check_room(conn, node, &new).await?;
    }
    Ok(Plan {
        role: node.role,
        reversible: catalogue::reads(&old.version, &new),
        from: side(node.chain_revision, &old, node.settings.clone()),
        to: side(target.revision, &new, settings),
        old,
        new,
    })
}

fn side(revision: i64, entry: &ChainEntry, settings: BTreeMap<String, String>) -> Side {
    Side {
        revision,
        version: entry.version.clone(),
        settings,
    }
}

/// The revision that is asked for, which is another than the node has.
async fn target(conn: &mut PgConnection, node: &Node, version: &str) -> Result<Chain> {
    let chain = &node.chain_id;
    let found = if version.is_empty() {
        store::chains::get(conn, chain).await?
    } else if let Some(found) = store::chains::released(conn, chain, version).await? {
        found
    } else {
        let known = store::chains::releases(conn, chain).await?.join(", ");
        let problem = format!("is none of chain `{chain}`, which has {known}: register it first");
        return Err(Error::invalid("version", problem));
    };
    if found.revision == node.chain_revision {
        let problem = if version.is_empty() {
            "the node has the one that was registered last: register a newer one"
        } else {
            "is the one that the node has"
        };
        return Err(Error::invalid("version", problem));
    }
    Ok(found)
}

/// The settings that the node would have.
fn settings(node: &Node, request: &pb::UpgradeNodeRequest) -> Result<BTreeMap<String, String>> {
    let mut wrong = Violations::default();
    let mut settings = node.settings.clone();
    for (i, name) in request.removed_settings.iter().enumerate() {
        if settings.remove(name).is_none() {
            wrong.add(
                format!("removed_settings[{i}]"),
                "is no setting of the node",
            );
        }
    }
    settings.extend(request.settings.clone());
    wrong.finish(Some(settings))
}

/// Whether the new entry can take the node over.
fn check_entry(node: &Node, old: &ChainEntry, new: &ChainEntry) -> Result<()> {
    let role = catalogue::role(node.role);
    if !new.roles().contains(&role) {
        let known: Vec<String> = new.roles().iter().map(ToString::to_string).collect();
        let problem = format!("has no role `{role}`; it has {}", known.join(", "));
        return Err(Error::invalid("version", problem));
    }
    if new.chain_id != old.chain_id || new.custody != old.custody {
        let problem = format!(
            "is for chain id `{}` and the node's data for `{}`, or the keys are kept otherwise: \
             launch a new node",
            new.chain_id, old.chain_id
        );
        return Err(Error::invalid("version", problem));
    }
    let refuse = |why| Error::precondition("CHAIN_NOT_LAUNCHABLE", why);
    new.launchable().map_err(refuse)?;
    if node.role == Role::Validator {
        new.signing().map_err(refuse)?;
    }
    Ok(())
}

fn check_settings(
    node: &Node,
    new: &ChainEntry,
    settings: &BTreeMap<String, String>,
) -> Result<()> {
    let mut wrong = Violations::default();
    let checked = new.settings(catalogue::role(node.role), settings, node.name.as_str());
    for problem in checked.err().unwrap_or_default() {
        let what = format!(
            "{}; give it with the upgrade, or remove it",
            problem.problem
        );
        wrong.add(format!("settings.{}", problem.name), what);
    }
    wrong.finish(Some(()))
}

/// Whether what the node takes of its machine lasts: a start takes no more.
async fn check_room(conn: &mut PgConnection, node: &Node, new: &ChainEntry) -> Result<()> {
    let Some(placement) = store::placements::latest(conn, node.id).await? else {
        return Ok(());
    };
    let offset = u16::try_from(placement.port_offset).unwrap_or_default();
    let wanted = catalogue::share(new, catalogue::role(node.role), offset);
    if placement.share.lasts_for(&wanted) {
        return Ok(());
    }
    let problem = "takes more of the machine than the node has: start the node and upgrade it \
                   while it runs, so that its machine is asked";
    Err(Error::invalid("version", problem))
}
