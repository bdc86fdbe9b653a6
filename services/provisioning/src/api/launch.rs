//! Launching a node: everything is checked before anything is written.

use super::nodes::Beside;
use super::{Api, convert, nodes, pb, validators};
use crate::catalogue;
use crate::domain::{Chain, NewNode, Role};
use crate::reconcile;
use crate::store;
use berth_core::{AccountId, Error, Name, NodeId, Result, Violations};
use berth_provisioner::chain::ChainEntry;
use berth_runtime::once::{self, once};
use berth_runtime::reconcile::wake;
use berth_runtime::{auth, pg, wire};
use std::collections::BTreeMap;
use tonic::Request;

pub(super) async fn launch(
    api: &Api,
    request: Request<pb::LaunchNodeRequest>,
) -> Result<pb::LaunchNodeResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    once::check(&request.request_id)?;
    let (new, entry) = parse(api, account, &request).await?;
    if request.validate_only {
        validators::check(api, &entry, &new).await?;
        let node = new.begin(berth_core::now());
        let beside = Beside {
            version: entry.version,
            ..Beside::default()
        };
        return Ok(pb::LaunchNodeResponse {
            node: Some(pb::Node {
                id: String::new(),
                etag: String::new(),
                create_time: None,
                ..convert::node(&node, &beside)
            }),
        });
    }
    if !once::repeats(&api.db, account, &request.request_id, &request).await? {
        // A repeat finds its validators on the node that it made.
        validators::check(api, &entry, &new).await?;
    }
    let id: NodeId = once(
        &api.db,
        account,
        &request.request_id,
        &request,
        async |txn| {
            let node = new.begin(berth_core::now());
            store::nodes::insert(txn, &node).await?;
            wake(txn, reconcile::NODE, node.id.uuid()).await?;
            Ok(node.id)
        },
    )
    .await?;
    Ok(pb::LaunchNodeResponse {
        node: Some(nodes::answer(api, account, id).await?),
    })
}

async fn parse(
    api: &Api,
    account: AccountId,
    request: &pb::LaunchNodeRequest,
) -> Result<(NewNode, ChainEntry)> {
    let mut wrong = Violations::default();
    let name = wrong.absorb(wire::parse("name", &request.name))?;
    let Some(spec) = wrong.absorb(wire::required("spec", request.spec.as_ref()))? else {
        return wrong.finish(None);
    };
    let role = wrong.absorb(convert::role(spec.role))?;
    let source = wire::required("spec.source", spec.source.as_ref());
    let source = wrong.absorb(source.and_then(convert::source))?;
    let chain = wrong.absorb(wire::parse::<Name>("spec.chain", &spec.chain))?;
    let validators = wrong.absorb(convert::validators(&spec.validators))?;
    let parsed = name.zip(role).zip(source).zip(chain).zip(validators);
    let ((((name, role), (source, term)), chain), validators) = wrong.finish(parsed)?;

    let mut conn = api.db.acquire().await.map_err(pg::error)?;
    let chain = store::chains::get(&mut conn, chain.as_str()).await?;
    let new = NewNode {
        account_id: account,
        name,
        chain_id: chain.id.clone(),
        chain_revision: chain.revision,
        role,
        source,
        term,
        settings: spec.settings.clone(),
        validators,
    };
    drop(conn);
    let entry = check(&chain, role, &new.settings, new.name.as_str())?;
    Ok((new, entry))
}

/// Whether a chain can run a role with these settings.
pub(super) fn check(
    chain: &Chain,
    role: Role,
    settings: &BTreeMap<String, String>,
    name: &str,
) -> Result<ChainEntry> {
    let entry = catalogue::entry(chain)?;
    let known = entry.roles();
    if !known.contains(&catalogue::role(role)) {
        let known: Vec<String> = known.iter().map(ToString::to_string).collect();
        let problem = format!("chain `{}` can run: {}", chain.id, known.join(", "));
        return Err(Error::invalid("spec.role", problem));
    }
    check_settings(&entry, role, settings, name)?;
    entry
        .launchable()
        .map_err(|why| Error::precondition("CHAIN_NOT_LAUNCHABLE", why))?;
    Ok(entry)
}

/// Whether the settings are ones that the chain declares.
pub(super) fn check_settings(
    entry: &ChainEntry,
    role: Role,
    settings: &BTreeMap<String, String>,
    name: &str,
) -> Result<()> {
    let mut wrong = Violations::default();
    let checked = entry.settings(catalogue::role(role), settings, name);
    for problem in checked.err().unwrap_or_default() {
        wrong.add(format!("spec.settings.{}", problem.name), problem.problem);
    }
    wrong.finish(Some(()))
}
