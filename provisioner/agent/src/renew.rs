//! Keeps the certificate young, and notices one that provisioning wrote.
//!
//! A refusal changes nothing: the agent goes on with what it has, and asks again.
//! Whether the placement may still act is not decided here.

use std::sync::Arc;
use std::time::Duration;

use berth_proto::provisioning::v1::RenewCertificateRequest;
use berth_proto::provisioning::v1::placement_service_client::PlacementServiceClient;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::sleep;
use tonic::Status;

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::identity::{Identity, IdentityError, MAX_CHAIN, Store};
use crate::peer::{Identities, Peer, current};

/// Longest sleep until the clock is read again: it may be set meanwhile.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// Why a certificate was not renewed.
#[derive(Debug, Error)]
enum RenewError {
    /// Provisioning cannot be reached, or refuses.
    #[error("{0}")]
    Refused(#[from] Status),
    /// No connection can be set up.
    #[error("{0}")]
    Connect(#[from] tonic::transport::Error),
    /// The answer is no certificate of this agent's key, or cannot be stored.
    #[error("{0}")]
    Identity(#[from] IdentityError),
}

/// The task that renews.
#[derive(Debug)]
pub struct Renewer {
    /// Provisioning's placement listener.
    pub peer: Peer,
    /// Where a new certificate goes.
    pub store: Store,
    /// Whom the agent is; follows the files.
    pub identities: Identities,
    /// Age at which a certificate of the usual life is renewed.
    pub renew_after: Duration,
    /// The control plane's time.
    pub clock: Arc<Clock>,
    /// Waits between tries; the longest is also the least between two renewals.
    pub backoff: Backoff,
}

impl Renewer {
    /// Renews until the agent ends.
    pub async fn run(mut self) {
        let mut waits = self.backoff.waits();
        while let Some(identity) = current(&mut self.identities).await {
            let due = identity.renew_at(self.renew_after);
            let wait = match due.duration_since(self.clock.now()) {
                Ok(early) if !early.is_zero() => early.min(LONGEST_SLEEP),
                _ => match self.renew(&identity).await {
                    Ok(next) => {
                        tracing::info!(expires_in_s = self.left(&next), "certificate renewed");
                        waits.reset();
                        // Whatever the clocks say, no two in a row.
                        sleep(self.backoff.longest).await;
                        continue;
                    }
                    Err(error) => {
                        let expires_in_s = self.left(&identity);
                        tracing::warn!(%error, expires_in_s, "cannot renew the certificate; trying again");
                        waits.longer()
                    }
                },
            };
            tokio::select! {
                () = sleep(wait) => {}
                changed = self.identities.changed() => if changed.is_err() { break },
            }
        }
    }

    async fn renew(&self, identity: &Identity) -> Result<Identity, RenewError> {
        let mut client = PlacementServiceClient::new(self.peer.channel(identity)?)
            .max_decoding_message_size(MAX_CHAIN);
        let csr_pem = self.store.csr()?;
        let answer = client
            .renew_certificate(RenewCertificateRequest { csr_pem })
            .await?;
        Ok(self.store.install(&answer.into_inner().certificate_pem)?)
    }

    /// Seconds until the end of its life; 0 once over.
    fn left(&self, identity: &Identity) -> u64 {
        identity
            .not_after
            .duration_since(self.clock.now())
            .unwrap_or_default()
            .as_secs()
    }
}

/// The task that reads the certificate file and tells all others when it changed.
#[derive(Debug)]
pub struct Watcher {
    /// The files.
    pub store: Store,
    /// Who is told.
    pub identities: watch::Sender<Option<Arc<Identity>>>,
    /// Time between two looks.
    pub every: Duration,
}

impl Watcher {
    /// Watches until the agent ends. What does not fit is named once and changes
    /// nothing.
    pub async fn run(self) {
        let mut last = None;
        loop {
            let found = self.store.chain().map_err(|error| error.to_string());
            if last.as_ref() != Some(&found) {
                self.take(&found);
                last = Some(found);
            }
            sleep(self.every).await;
        }
    }

    fn take(&self, found: &Result<Option<String>, String>) {
        let chain = match found {
            Ok(Some(chain)) => chain,
            Ok(None) => return tracing::info!("waiting for a certificate"),
            Err(error) => return tracing::warn!(error, "certificate cannot be read"),
        };
        match self.store.identity(chain) {
            Ok(identity) => {
                tracing::info!("certificate in use");
                self.identities.send_replace(Some(Arc::new(identity)));
            }
            Err(error) => tracing::warn!(%error, "certificate ignored"),
        }
    }
}
