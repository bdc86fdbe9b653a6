//! Connections to the control plane: mutual TLS, with names that are checked.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Error};

use crate::identity::Identity;

/// Longest wait for a connection, and for one answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The latest identity; `None` until there is a certificate.
pub type Identities = watch::Receiver<Option<Arc<Identity>>>;

/// Waits for an identity. `None` when the agent ends.
pub async fn current(identities: &mut Identities) -> Option<Arc<Identity>> {
    identities.wait_for(Option::is_some).await.ok()?.clone()
}

/// A listener of the control plane.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where it is, `https://…`.
    pub endpoint: String,
    /// Name that its certificate must carry.
    pub server_name: String,
    /// Authority of its certificate, PEM.
    pub authority: String,
}

impl Peer {
    /// A channel that shows `identity`, and connects when it is first used.
    ///
    /// # Errors
    /// When the address or a certificate cannot be used.
    pub fn channel(&self, identity: &Identity) -> Result<Channel, Error> {
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&self.authority))
            .domain_name(&self.server_name)
            .identity(identity.tls());
        let endpoint = Endpoint::from_shared(self.endpoint.clone())?
            .tls_config(tls)?
            .connect_timeout(TIMEOUT)
            .timeout(TIMEOUT)
            .http2_keep_alive_interval(TIMEOUT * 2)
            .keep_alive_timeout(TIMEOUT)
            .tcp_nodelay(true);
        Ok(endpoint.connect_lazy())
    }
}
