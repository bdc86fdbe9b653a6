//! Pushes what waits in the buffer to monitoring, oldest first.
//!
//! A cut way, a refusal of the certificate or a busy receiver keep the batch, and it
//! is tried again; only a batch that the receiver calls bad is given up, so that it
//! does not block the ones behind it.

use std::sync::Arc;
use std::time::SystemTime;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use prost::Message;
use tokio::time::sleep;
use tonic::codec::CompressionEncoding;
use tonic::transport::{Channel, Error};
use tonic::{Code, Status};

use crate::backoff::Backoff;
use crate::buffer::Buffer;
use crate::clock::Clock;
use crate::identity::Identity;
use crate::peer::{Identities, Peer, current};

/// Largest answer that is read.
const MAX_ANSWER: usize = 256 * 1024;

type Client = MetricsServiceClient<Channel>;

/// The task that empties the buffer.
#[derive(Debug)]
pub struct Exporter {
    /// Monitoring's OTLP listener.
    pub peer: Peer,
    /// Whom the agent is.
    pub identities: Identities,
    /// What to send.
    pub buffer: Arc<Buffer>,
    /// Learns from every answer.
    pub clock: Arc<Clock>,
    /// Waits between tries.
    pub backoff: Backoff,
}

impl Exporter {
    /// Sends until the buffer is closed and empty.
    ///
    /// # Errors
    /// When no connection can even be set up, because a certificate is none.
    pub async fn run(mut self) -> Result<(), Error> {
        let mut waits = self.backoff.waits();
        let mut link: Option<(Arc<Identity>, Client)> = None;
        let mut cut = false;
        while let Some(batch) = self.buffer.next().await {
            let Some(identity) = current(&mut self.identities).await else {
                break;
            };
            let client = match &mut link {
                Some((used, client)) if Arc::ptr_eq(used, &identity) => client,
                stale => &mut stale.insert((identity.clone(), self.connect(&identity)?)).1,
            };
            match self.send(client, &batch.bytes).await {
                Ok(()) => {
                    self.buffer.sent(batch.sequence);
                    waits.reset();
                    if std::mem::take(&mut cut) {
                        tracing::info!("monitoring takes samples again");
                    }
                }
                Err(status) if is_bad_batch(status.code()) => {
                    self.buffer.discard(batch.sequence);
                    tracing::warn!(%status, "monitoring refused samples; they are lost");
                }
                Err(status) => {
                    if !std::mem::replace(&mut cut, true) {
                        tracing::warn!(%status, "cannot send samples; keeping the newest");
                    }
                    tokio::select! {
                        () = sleep(waits.longer()) => {}
                        // A new certificate may be what was missing.
                        changed = self.identities.changed() => if changed.is_err() { break },
                    }
                }
            }
        }
        Ok(())
    }

    fn connect(&self, identity: &Identity) -> Result<Client, Error> {
        Ok(MetricsServiceClient::new(self.peer.channel(identity)?)
            .send_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(MAX_ANSWER))
    }

    async fn send(&self, client: &mut Client, bytes: &[u8]) -> Result<(), Status> {
        let request = ExportMetricsServiceRequest::decode(bytes)
            .map_err(|error| Status::new(Code::OutOfRange, error.to_string()))?;
        let asked = SystemTime::now();
        let answer = client.export(request).await?;
        if let Some(date) = answer
            .metadata()
            .get("date")
            .and_then(|date| date.to_str().ok())
        {
            self.clock.observe(asked, SystemTime::now(), date);
        }
        if let Some(partial) = answer.into_inner().partial_success
            && partial.rejected_data_points > 0
        {
            let rejected = partial.rejected_data_points;
            tracing::debug!(
                rejected,
                reason = partial.error_message,
                "monitoring left samples out"
            );
        }
        Ok(())
    }
}

/// Whether the same batch would be refused for ever: malformed, or too large.
fn is_bad_batch(code: Code) -> bool {
    matches!(code, Code::InvalidArgument | Code::OutOfRange)
}
