//! Watching a node, whatever becomes of the connection.

use super::again::{Again, Step};
use super::context::Authed;
use berth_proto::provisioning::v1 as pb;
use berth_proto::provisioning::v1::node_status::State;
use berth_proto::provisioning::v1::provisioning_service_client::ProvisioningServiceClient;
use tonic::Status;

type Client = ProvisioningServiceClient<Authed>;

/// What is told of a node after an event. A stream that ends too early is taken
/// up again after the last event that came.
pub(super) struct Watch {
    client: Client,
    request: pb::WatchNodeRequest,
    again: Again<pb::WatchNodeResponse>,
    last: pb::NodeStatus,
}

impl Watch {
    /// Nothing is asked before the first [`Watch::next`].
    pub(super) fn new(client: &Client, node_id: &str, after_sequence: i64) -> Self {
        Self {
            client: client.clone(),
            request: pb::WatchNodeRequest {
                node_id: node_id.to_owned(),
                after_sequence,
            },
            again: Again::new(),
            last: pb::NodeStatus::default(),
        }
    }

    /// Tells a lost connection here.
    pub(super) fn say(&mut self, say: impl Fn(&str) + Send + Sync + 'static) {
        self.again.say(say);
    }

    /// The next that is told; nothing after all was told of a retired node.
    ///
    /// # Errors
    ///
    /// A refusal; what only broke is tried again for as long as it takes.
    pub(super) async fn next(&mut self) -> Result<Option<pb::WatchNodeResponse>, Status> {
        loop {
            let ask = self.client.watch_node(self.request.clone());
            match self.again.step(ask).await? {
                Step::Came(answer) => {
                    self.note(&answer);
                    return Ok(Some(answer));
                }
                Step::Ended if self.is_complete() && self.last.state() == State::Retired => {
                    return Ok(None);
                }
                Step::Ended | Step::Broke => {}
            }
        }
    }

    /// Whether every event has come that made the node what it was last.
    pub(super) fn is_complete(&self) -> bool {
        self.request.after_sequence >= self.last.event_sequence
    }

    fn note(&mut self, answer: &pb::WatchNodeResponse) {
        if let Some(event) = &answer.event {
            self.request.after_sequence = event.sequence;
        }
        if let Some(status) = answer.node.as_ref().and_then(|node| node.status.clone()) {
            self.last = status;
        }
    }
}
