//! Health calls.

use super::{Api, convert, pb};
use crate::domain::{Told, assess, duty};
use crate::store::{observed, samples, targets};
use berth_core::{AccountId, Error, NodeId, Result};
use berth_runtime::{auth, notices, pg, status, wire};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use std::time::Duration;
use tonic::{Request, Status};

/// How often health is looked at when no notice comes: silence is not announced.
const LOOK: Duration = Duration::from_secs(2);

pub(super) async fn get(
    api: &Api,
    request: Request<pb::GetHealthRequest>,
) -> Result<pb::GetHealthResponse> {
    let account = auth::account(&request)?;
    let node: NodeId = wire::parse("node_id", &request.get_ref().node_id)?;
    let health = read(api, account, node).await?;
    Ok(pb::GetHealthResponse {
        health: Some(health),
    })
}

pub(super) async fn watch(
    api: &Api,
    request: Request<pb::WatchHealthRequest>,
) -> Result<BoxStream<'static, Result<pb::WatchHealthResponse, Status>>> {
    let account = auth::account(&request)?;
    let node: NodeId = wire::parse("node_id", &request.get_ref().node_id)?;
    let first = read(api, account, node).await?;
    let stop = api.stop.clone();
    let watch = Watch {
        api: api.clone(),
        account,
        node,
        pending: Some(first.clone()),
        last: first,
        receiver: api.notices.subscribe(),
    };
    let changes = futures::stream::unfold(Some(watch), async |watch| watch?.next().await);
    Ok(changes.take_until(stop.cancelled_owned()).boxed())
}

struct Watch {
    api: Api,
    account: AccountId,
    node: NodeId,
    pending: Option<pb::Health>,
    last: pb::Health,
    receiver: tokio::sync::broadcast::Receiver<String>,
}

impl Watch {
    /// The next answer, and the watch unless it was the last.
    async fn next(mut self) -> Option<(Result<pb::WatchHealthResponse, Status>, Option<Self>)> {
        loop {
            if let Some(health) = self.pending.take() {
                let answer = pb::WatchHealthResponse {
                    health: Some(health),
                };
                return Some((Ok(answer), Some(self)));
            }
            let id = self.node.to_string();
            let of_it = |nodes: &str| nodes.split(',').any(|node| node == id);
            notices::next(&mut self.receiver, LOOK, of_it).await;
            match read(&self.api, self.account, self.node).await {
                Ok(health) if health != self.last => {
                    self.last = health.clone();
                    self.pending = Some(health);
                }
                Ok(_) => {}
                // The node is retired; the watch is over.
                Err(Error::NotFound { .. }) => return None,
                Err(error) => return Some((Err(status::from_error(&error)), None)),
            }
        }
    }
}

async fn read(api: &Api, account: AccountId, node: NodeId) -> Result<pb::Health> {
    let mut conn = api.db.acquire().await.map_err(pg::error)?;
    let target = targets::get(&mut conn, account, node).await?;
    let readings = samples::newest(&mut conn, node, target.fence).await?;
    let now = berth_core::now();
    let health = assess(&target.expectation, &readings, target.running, now);
    let duty = match &target.duty {
        None => None,
        Some(signs) => {
            let window = samples::counts(&mut conn, node, target.fence, signs).await?;
            let on_chain =
                observed::of_node(&mut conn, &target.chain, &target.public_keys, now).await?;
            let told = Told {
                readings: &readings,
                window: &window,
                on_chain: on_chain.as_ref(),
            };
            Some(duty(signs, &health, told, target.running))
        }
    };
    Ok(convert::health(&target, health, duty))
}
