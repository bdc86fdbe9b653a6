//! The log of a container, read through the machine's SSH session.

use super::{Api, nodes, pb};
use crate::domain::{Node, Placement};
use crate::reconcile::{site_error, target};
use crate::{catalogue, store};
use berth_core::{Error, Name, Result, Violations};
use berth_provisioner::Target;
use berth_provisioner::docker::LogQuery;
use berth_provisioner::spec::PlacementRef;
use berth_runtime::{auth, pg, wire};
use chrono::{DateTime, Utc};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tonic::Request;

/// Lines when the caller names no number.
const DEFAULT_TAIL: u32 = 100;
/// Most lines of the past.
const MAX_TAIL: u32 = 10_000;
/// Longest line in bytes.
const MAX_LINE: usize = 16 << 10;

pub(super) async fn stream(
    api: &Api,
    request: Request<pb::StreamNodeLogsRequest>,
) -> Result<BoxStream<'static, Result<pb::StreamNodeLogsResponse>>> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let (component, tail, since) = asked(&request)?;
    let mut conn = api.db.acquire().await.map_err(pg::error)?;
    let node = nodes::find(&mut conn, account, &request.node_id).await?;
    let Some(placement) = store::placements::current(&mut conn, node.id).await? else {
        let why = format!("node `{}` is on no machine", node.name);
        return Err(Error::precondition("NODE_STATE", why));
    };
    let component = if let Some(component) = component {
        component.to_string()
    } else {
        let chain = store::chains::revision(&mut conn, &node.chain_id, node.chain_revision).await?;
        let entry = catalogue::entry(&chain)?;
        let first = entry.components_of(catalogue::role(node.role)).next();
        first
            .map(|component| component.name.clone())
            .unwrap_or_default()
    };
    drop(conn);

    let found = find(api, &node, &placement, &component).await?;
    let query = LogQuery {
        tail,
        since,
        follow: request.follow,
        max_line: MAX_LINE,
    };
    let lines = api.site.logs(&found.at, &found.name, query).await;
    let lines = lines.map_err(site_error)?.map(move |line| {
        let line = line.map_err(site_error)?;
        Ok(pb::StreamNodeLogsResponse {
            component: component.clone(),
            line: shortened(line.text),
            time: line.time.map(wire::timestamp),
        })
    });
    Ok(lines.take_until(api.stop.clone().cancelled_owned()).boxed())
}

/// Which lines of which component are asked for.
fn asked(
    request: &pb::StreamNodeLogsRequest,
) -> Result<(Option<Name>, u32, Option<DateTime<Utc>>)> {
    let mut wrong = Violations::default();
    let component = wrong.absorb(wire::parse_optional("component", &request.component))?;
    let since = request.since.map(|time| wire::time("since", time));
    let since = wrong.absorb(since.transpose())?;
    let tail = match u32::try_from(request.tail) {
        Ok(0) if request.since.is_some() => Some(MAX_TAIL),
        Ok(0) => Some(DEFAULT_TAIL),
        Ok(tail) => Some(tail.min(MAX_TAIL)),
        Err(_) => {
            wrong.add("tail", "must not be negative");
            None
        }
    };
    let asked = || Some((component?, tail?, since?));
    let asked = asked();
    wrong.finish(asked)
}

/// A container of a node's current placement.
pub(super) struct Found {
    /// Its machine.
    pub(super) at: Target,
    /// The placement.
    pub(super) whose: PlacementRef,
    /// Its name there.
    pub(super) name: String,
}

/// Finds the container of a component on the machine.
pub(super) async fn find(
    api: &Api,
    node: &Node,
    placement: &Placement,
    component: &str,
) -> Result<Found> {
    let at = target(&api.others.machine(placement.machine_id).await?)?;
    let whose = PlacementRef {
        node_id: node.id.to_string(),
        placement_id: placement.id.to_string(),
        fence: placement.fence.get(),
    };
    let seen = api.site.observe(&at, &whose).await.map_err(site_error)?;
    let mut containers = seen.containers.into_iter();
    let Some(container) = containers.find(|c| c.component == component) else {
        let why = format!(
            "node `{}` has no container `{component}` on its machine",
            node.name
        );
        return Err(Error::precondition("NO_CONTAINER", why));
    };
    Ok(Found {
        at,
        whose,
        name: container.name,
    })
}

/// A byte that is no UTF-8 became a character of three.
fn shortened(mut line: String) -> String {
    let mut end = line.len().min(MAX_LINE);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line.truncate(end);
    line
}
