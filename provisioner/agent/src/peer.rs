//! Connections to the control plane: mutual TLS, with names that are checked.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use hyper::http::uri::InvalidUri;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use secrecy::ExposeSecret;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use crate::identity::Identity;

/// Longest wait for a connection, and for one answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The latest identity; `None` until there is a certificate.
pub type Identities = watch::Receiver<Option<Arc<Identity>>>;

/// Waits for an identity. `None` when the agent ends.
pub async fn current(identities: &mut Identities) -> Option<Arc<Identity>> {
    identities.wait_for(Option::is_some).await.ok()?.clone()
}

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The address is none.
    #[error("the address is none: {0}")]
    Address(#[from] InvalidUri),
    /// The name of the certificate is none.
    #[error("the name of its certificate is none: {0}")]
    Name(#[from] InvalidDnsNameError),
    /// A certificate or key is none.
    #[error("a certificate or key cannot be read: {0}")]
    Pem(#[from] pem::Error),
    /// They do not do.
    #[error("a certificate or key cannot be used: {0}")]
    Identity(#[from] rustls::Error),
    /// Nobody listens there, or somebody else does.
    #[error("cannot connect: {0}")]
    Connect(#[from] io::Error),
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
    pub fn channel(&self, identity: &Identity) -> Result<Channel, tonic::transport::Error> {
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

    /// A connection that shows `identity`, for HTTP/2. The caller bounds the time.
    ///
    /// # Errors
    /// When nobody listens there who has the right certificate.
    pub async fn connect(&self, identity: &Identity) -> Result<TlsStream<TcpStream>, ConnectError> {
        let uri: Uri = self.endpoint.parse()?;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let connector = TlsConnector::from(Arc::new(self.tls(identity)?));
        let name = ServerName::try_from(self.server_name.clone())?;
        let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(443))).await?;
        stream.set_nodelay(true)?;
        Ok(connector.connect(name, stream).await?)
    }

    fn tls(&self, identity: &Identity) -> Result<ClientConfig, ConnectError> {
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(self.authority.as_bytes()) {
            roots.add(authority?)?;
        }
        let chain: Result<_, _> =
            CertificateDer::pem_slice_iter(identity.chain.as_bytes()).collect();
        let key = PrivateKeyDer::from_pem_slice(identity.key.expose_secret().as_bytes())?;
        let mut config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain?, key)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}
