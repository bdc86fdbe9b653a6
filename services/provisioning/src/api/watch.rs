//! Watching a node: every event from a sequence on, and the node as it changes.
//!
//! A notice only says when to look; what is sent is what the database holds, so
//! none is lost or sent twice, whoever wrote it.

use super::{Api, nodes, pb};
use crate::store;
use berth_core::{AccountId, Error, NodeId, Result};
use berth_runtime::{auth, notices, pg};
use futures::stream::{self, BoxStream, StreamExt as _};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::broadcast;
use tonic::Request;

/// How often to look when no notice comes.
const LOOK: Duration = Duration::from_secs(2);

struct Watch {
    api: Api,
    account: AccountId,
    id: NodeId,
    after: i64,
    notices: broadcast::Receiver<String>,
    last: Option<pb::Node>,
    queue: VecDeque<pb::WatchNodeResponse>,
}

pub(super) async fn watch(
    api: &Api,
    request: Request<pb::WatchNodeRequest>,
) -> Result<BoxStream<'static, Result<pb::WatchNodeResponse>>> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    if request.after_sequence < 0 {
        return Err(Error::invalid("after_sequence", "must not be negative"));
    }
    // Before the first look, or what happens in between would be told late.
    let notices = api.notices.subscribe();
    let mut conn = api.db.acquire().await.map_err(pg::error)?;
    let node = nodes::find(&mut conn, account, &request.node_id).await?;
    let watch = Watch {
        api: api.clone(),
        account,
        id: node.id,
        after: request.after_sequence,
        notices,
        last: None,
        queue: VecDeque::new(),
    };
    Ok(stream::try_unfold(watch, Watch::next).boxed())
}

impl Watch {
    async fn next(mut self) -> Result<Option<(pb::WatchNodeResponse, Self)>> {
        let stop = self.api.stop.clone();
        loop {
            if let Some(response) = self.queue.pop_front() {
                return Ok(Some((response, self)));
            }
            self.look().await?;
            if !self.queue.is_empty() {
                continue;
            }
            if self.is_over() {
                return Ok(None);
            }
            let id = self.id.to_string();
            tokio::select! {
                () = stop.cancelled() => return Ok(None),
                () = notices::next(&mut self.notices, LOOK, |changed| changed == id) => {}
            }
        }
    }

    /// Reads events first and the node after them, so that it is as new.
    async fn look(&mut self) -> Result<()> {
        let mut conn = self.api.db.acquire().await.map_err(pg::error)?;
        let events = store::events::after(&mut conn, self.id, self.after).await?;
        let node = store::nodes::get(&mut conn, self.account, self.id).await?;
        let node = nodes::described(&mut conn, &node).await?;
        if let Some(event) = events.last() {
            self.after = event.sequence;
        }
        let news = self.last.as_ref() != Some(&node);
        if events.is_empty() && news {
            self.queue.push_back(pb::WatchNodeResponse {
                node: Some(node.clone()),
                event: None,
            });
        }
        self.queue
            .extend(events.into_iter().map(|event| pb::WatchNodeResponse {
                node: Some(node.clone()),
                event: Some(event.into()),
            }));
        self.last = Some(node);
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.last
            .as_ref()
            .and_then(|node| node.status.as_ref())
            .is_some_and(|status| status.state() == pb::node_status::State::Retired)
    }
}
