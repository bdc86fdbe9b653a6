//! Watching a node, whatever becomes of the connection.

use super::context::Authed;
use berth_proto::provisioning::v1 as pb;
use berth_proto::provisioning::v1::node_status::State;
use berth_proto::provisioning::v1::provisioning_service_client::ProvisioningServiceClient;
use std::time::Duration;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

/// How long to wait before a stream is taken up again.
const AGAIN: Duration = Duration::from_millis(500);

type Client = ProvisioningServiceClient<Authed>;

/// What is told of a node after an event. A stream that ends too early is taken
/// up again after the last event that came.
pub(super) struct Watch {
    client: Client,
    request: pb::WatchNodeRequest,
    stream: Option<Streaming<pb::WatchNodeResponse>>,
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
            stream: None,
            last: pb::NodeStatus::default(),
        }
    }

    /// The next that is told; nothing after all was told of a retired node.
    ///
    /// # Errors
    ///
    /// A refusal; what only broke is tried again for as long as it takes.
    pub(super) async fn next(&mut self) -> Result<Option<pb::WatchNodeResponse>, Status> {
        loop {
            match self.told().await {
                Ok(Some(answer)) => {
                    self.note(&answer);
                    return Ok(Some(answer));
                }
                Ok(None) if self.is_complete() && self.last.state() == State::Retired => {
                    return Ok(None);
                }
                Err(status) if !is_passing(&status) => return Err(status),
                Ok(None) | Err(_) => {}
            }
            self.stream = None;
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Whether every event has come that made the node what it was last.
    pub(super) fn is_complete(&self) -> bool {
        self.request.after_sequence >= self.last.event_sequence
    }

    async fn told(&mut self) -> Result<Option<pb::WatchNodeResponse>, Status> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let answer = self.client.watch_node(self.request.clone()).await?;
                self.stream.insert(answer.into_inner())
            }
        };
        stream.message().await
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

/// Whether the same may succeed later.
fn is_passing(status: &Status) -> bool {
    // So looks a connection that breaks; an answer of Berth's has a reason.
    let broke = [Code::Cancelled, Code::Unknown, Code::Internal].contains(&status.code())
        && status.get_details_error_info().is_none();
    broke || matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::ErrorDetails;

    #[test]
    fn a_connection_that_breaks_is_no_refusal() {
        for code in [Code::Unavailable, Code::Unknown, Code::Internal] {
            assert!(is_passing(&Status::new(code, "")), "{code:?}");
        }
        assert!(!is_passing(&Status::new(Code::NotFound, "")));
        let details = ErrorDetails::with_error_info("INTERNAL", "berth.dev", []);
        let ours = Status::with_error_details(Code::Internal, "", details);
        assert!(!is_passing(&ours));
    }
}
