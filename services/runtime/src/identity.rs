//! A service's own certificate, and TLS made from it. Replaced while running:
//! connections made afterwards show the new one.

use chrono::{DateTime, Utc};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use secrecy::{ExposeSecret as _, SecretString};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// Certificates in PEM, as Vault issued them.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// The service's certificate, followed by its issuers.
    pub certificate_pem: String,
    /// Its private key.
    pub private_key_pem: SecretString,
    /// Authority of the services.
    pub services_ca_pem: String,
    /// Authority of the placements.
    pub placements_ca_pem: String,
    /// When the certificate ends.
    pub not_after: DateTime<Utc>,
}

/// Whom a listener lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Services, by certificate.
    Services,
    /// Placements, by certificate.
    Placements,
    /// Both; methods tell them apart.
    Anyone,
    /// Everybody: the gateway, which asks for a token.
    Public,
}

/// The bundle cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Not PEM, or empty.
    #[error("the {0} is not PEM, or holds nothing")]
    Pem(&'static str),
    /// rustls refuses it.
    #[error("the certificate cannot be used")]
    Tls(#[from] rustls::Error),
    /// The authority cannot be used to verify clients.
    #[error("the authority cannot be used")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// The current certificate of this process; cheap to clone.
#[derive(Clone, Default)]
pub struct Identity {
    current: Arc<RwLock<Option<Arc<Tls>>>>,
}

struct Tls {
    services: Arc<ServerConfig>,
    placements: Arc<ServerConfig>,
    anyone: Arc<ServerConfig>,
    public: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl Identity {
    /// No certificate yet: every connection fails until [`Self::replace`].
    #[must_use]
    pub fn pending() -> Self {
        Self::default()
    }

    /// Shows this certificate from now on.
    ///
    /// # Errors
    ///
    /// [`IdentityError`] when the bundle cannot be used; the current one stays.
    pub fn replace(&self, bundle: &Bundle) -> Result<(), IdentityError> {
        let tls = Arc::new(Tls::new(bundle)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(tls);
        Ok(())
    }

    /// TLS for a listener.
    #[must_use]
    pub fn server(&self, trust: Trust) -> Option<Arc<ServerConfig>> {
        self.tls().map(|tls| match trust {
            Trust::Services => Arc::clone(&tls.services),
            Trust::Placements => Arc::clone(&tls.placements),
            Trust::Anyone => Arc::clone(&tls.anyone),
            Trust::Public => Arc::clone(&tls.public),
        })
    }

    /// TLS for calling another service.
    #[must_use]
    pub fn client(&self) -> Option<Arc<ClientConfig>> {
        self.tls().map(|tls| Arc::clone(&tls.client))
    }

    fn tls(&self) -> Option<Arc<Tls>> {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Tls {
    fn new(bundle: &Bundle) -> Result<Self, IdentityError> {
        let chain = certificates("certificate", &bundle.certificate_pem)?;
        let key = || {
            PrivateKeyDer::from_pem_slice(bundle.private_key_pem.expose_secret().as_bytes())
                .map_err(|_| IdentityError::Pem("private key"))
        };
        let roots = |pems: &[(&'static str, &str)]| -> Result<Arc<RootCertStore>, IdentityError> {
            let mut store = RootCertStore::empty();
            for (what, pem) in pems {
                for certificate in certificates(what, pem)? {
                    store.add(certificate)?;
                }
            }
            Ok(Arc::new(store))
        };
        let services = ("services authority", bundle.services_ca_pem.as_str());
        let placements = ("placements authority", bundle.placements_ca_pem.as_str());
        let server = |clients: Option<Arc<RootCertStore>>| -> Result<_, IdentityError> {
            let builder = ServerConfig::builder();
            let builder = match clients {
                Some(roots) => {
                    builder.with_client_cert_verifier(WebPkiClientVerifier::builder(roots).build()?)
                }
                None => builder.with_no_client_auth(),
            };
            let mut config = builder.with_single_cert(chain.clone(), key()?)?;
            config.alpn_protocols = vec![b"h2".to_vec()];
            Ok(Arc::new(config))
        };
        let mut client = ClientConfig::builder()
            .with_root_certificates(roots(&[services])?)
            .with_client_auth_cert(chain.clone(), key()?)?;
        client.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self {
            services: server(Some(roots(&[services])?))?,
            placements: server(Some(roots(&[placements])?))?,
            anyone: server(Some(roots(&[services, placements])?))?,
            public: server(None)?,
            client: Arc::new(client),
        })
    }
}

fn certificates(
    what: &'static str,
    pem: &str,
) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .ok()
        .filter(|found| !found.is_empty())
        .ok_or(IdentityError::Pem(what))
}
