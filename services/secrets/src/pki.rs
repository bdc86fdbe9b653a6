//! Certificates: a service's own, and those of placements.
//!
//! Who somebody is stands in one URI of the certificate; what else a request
//! asks for is ignored, and the role in Vault refuses another service's URI.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use secrecy::SecretString;
use tokio::sync::watch;
use vaultrs::api::pki::{
    requests::{ListIssuersRequest, SignCertificateRequest},
    responses::SignCertificateResponse,
};

use x509_parser::prelude::{FromDer as _, X509CertificationRequest, parse_x509_pem};

use crate::{Error, Result, Vault, connection::Call, name};

/// The role of [`Vault::sign_placement_csr`] below the placements' authority.
pub(crate) const PLACEMENT_ROLE: &str = "placement";

/// The largest certificate request accepted.
const MAX_CSR: usize = 8 * 1024;

/// How long a failed renewal of an identity waits.
const RETRY: Duration = Duration::from_secs(30);

/// A service's certificate with its key, as a TLS server or client needs it.
#[derive(Debug, Clone)]
pub struct Identity {
    /// PEM: the certificate, then those that lead to the authority.
    pub certificate_chain: String,
    /// PEM, PKCS #8.
    pub private_key: SecretString,
    /// PEM: the authorities of services, to verify other services with.
    pub ca: String,
    /// When the certificate ends.
    pub not_after: SystemTime,
}

/// Whether a text is a certificate request that its own key has signed.
///
/// # Errors
///
/// [`Error::Invalid`] when it is not.
pub fn check_csr(text: &str) -> Result<()> {
    let wrong = || {
        Error::invalid(
            "csr",
            "must be one PEM certificate request of at most 8 KiB",
        )
    };
    let plain = |c: char| matches!(c, '\n' | '\r') || !c.is_control();
    if text.len() > MAX_CSR || !text.chars().all(plain) {
        return Err(wrong());
    }
    let (_, pem) = parse_x509_pem(text.as_bytes()).map_err(|_| wrong())?;
    let (rest, request) = X509CertificationRequest::from_der(&pem.contents).map_err(|_| wrong())?;
    if pem.label == "CERTIFICATE REQUEST" && rest.is_empty() && request.verify_signature().is_ok() {
        Ok(())
    } else {
        Err(wrong())
    }
}

impl Vault {
    /// A new certificate for `berth://service/<role>`, for use as server and
    /// as client; the key is made here and never leaves the process.
    ///
    /// # Errors
    /// [`Error::Denied`] when `role` is not this service's own; else as Vault
    /// answers.
    pub async fn issue_service_certificate(&self, role: &str) -> Result<Identity> {
        name::segment("role", role)?;
        let (key, request) = key_and_request()?;
        let (addresses, dns) = self.names(role);
        let signed = self
            .sign(|| SignCertificateRequest {
                mount: self.mounts().services(),
                role: role.to_owned(),
                csr: Some(request.clone()),
                uri_sans: Some(format!("berth://service/{role}")),
                alt_names: Some(dns.clone()),
                ip_sans: Some(addresses.clone()),
                ..SignCertificateRequest::default()
            })
            .await?;
        Ok(Identity {
            not_after: UNIX_EPOCH + Duration::from_secs(signed.expiration),
            certificate_chain: chain(signed),
            private_key: key,
            ca: self.services_ca().await?,
        })
    }

    /// A certificate for `role` that is renewed after a third of its life:
    /// the newest, and the future that renews it, which the caller runs in its
    /// own set of tasks. The future ends when every receiver is dropped.
    ///
    /// # Errors
    /// As [`Self::issue_service_certificate`], for the first.
    pub async fn keep_service_certificate(
        &self,
        role: &str,
    ) -> Result<(
        watch::Receiver<Identity>,
        impl Future<Output = ()> + Send + use<>,
    )> {
        let (newest, receiver) = watch::channel(self.issue_service_certificate(role).await?);
        let (vault, role) = (self.clone(), role.to_owned());
        let renew = async move {
            let mut pause = newest.borrow().time_to_renewal();
            loop {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = newest.closed() => return,
                }
                pause = match vault.issue_service_certificate(&role).await {
                    Ok(identity) => {
                        let due = identity.time_to_renewal();
                        newest.send_replace(identity);
                        due
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the service's certificate was not renewed; trying on");
                        RETRY
                    }
                };
            }
        };
        Ok((receiver, renew))
    }

    /// Signs an agent's request (ECDSA P-256) with the name
    /// `berth://placement/<node>/<placement>/<fence>`, for 24 hours, for use
    /// as a client only; returns the certificate chain as PEM. Only the key of
    /// the request is used.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the request or an id is not one; else as Vault
    /// answers.
    pub async fn sign_placement_csr(
        &self,
        csr: &str,
        node_id: &str,
        placement_id: &str,
        fence: u64,
    ) -> Result<String> {
        name::segment("node id", node_id)?;
        name::segment("placement id", placement_id)?;
        check_csr(csr)?;
        let signed = self
            .sign(|| SignCertificateRequest {
                mount: self.mounts().placements(),
                role: PLACEMENT_ROLE.to_owned(),
                csr: Some(csr.to_owned()),
                uri_sans: Some(format!(
                    "berth://placement/{node_id}/{placement_id}/{fence}"
                )),
                ..SignCertificateRequest::default()
            })
            .await?;
        Ok(chain(signed))
    }

    /// PEM: the authorities of services, old and new, to verify them with.
    ///
    /// # Errors
    /// As Vault answers.
    pub async fn services_ca(&self) -> Result<String> {
        self.authorities(&self.mounts().services()).await
    }

    /// PEM: the authorities of placements, old and new, to verify them with.
    ///
    /// # Errors
    /// As Vault answers.
    pub async fn placements_ca(&self) -> Result<String> {
        self.authorities(&self.mounts().placements()).await
    }

    /// The IP addresses and DNS names of this service's certificate.
    fn names<'a>(&'a self, role: &'a str) -> (String, String) {
        let (mut addresses, mut dns) = (vec!["127.0.0.1"], vec!["localhost", role]);
        for name in &self.config().names {
            let is_address = name.parse::<IpAddr>().is_ok();
            let names = if is_address { &mut addresses } else { &mut dns };
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        (addresses.join(","), dns.join(","))
    }

    async fn sign(
        &self,
        request: impl Fn() -> SignCertificateRequest,
    ) -> Result<SignCertificateResponse> {
        let SignCertificateRequest { mount, role, .. } = request();
        let request = || SignCertificateRequest {
            remove_roots_from_chain: Some(true),
            ..request()
        };
        self.data(&format!("signing with {mount}/{role}"), request)
            .await
    }

    /// The certificates of all issuers of `mount`, so that during a rotation
    /// both the old and the new are trusted.
    async fn authorities(&self, mount: &str) -> Result<String> {
        let operation = format!("reading the authorities of {mount}");
        let list = || ListIssuersRequest {
            mount: mount.to_owned(),
        };
        let mut bundle = String::new();
        for id in self.data(&operation, list).await?.keys {
            let id = name::segment("issuer", &id)?;
            let issuer = self
                .data(&operation, || {
                    Call::get(format!("{mount}/issuer/{id}/json"))
                })
                .await?;
            let pem = issuer["certificate"]
                .as_str()
                .ok_or_else(|| Error::answer(&operation))?;
            bundle.push_str(pem.trim());
            bundle.push('\n');
        }
        Ok(bundle)
    }
}

impl Identity {
    /// How long to wait before a new one is due: a third of what is left.
    fn time_to_renewal(&self) -> Duration {
        self.not_after
            .duration_since(SystemTime::now())
            .unwrap_or_default()
            / 3
    }
}

/// The certificate and what leads to the root, in order.
fn chain(signed: SignCertificateResponse) -> String {
    let mut chain = String::new();
    for pem in std::iter::once(signed.certificate).chain(signed.ca_chain.into_iter().flatten()) {
        chain.push_str(pem.trim());
        chain.push('\n');
    }
    chain
}

/// A new key and a request that carries nothing but it.
pub(crate) fn key_and_request() -> Result<(SecretString, String)> {
    let failed = |_| Error::invalid("key", "could not be made on this machine");
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let request = params
        .serialize_request(&key)
        .and_then(|request| request.pem())
        .map_err(failed)?;
    Ok((key.serialize_pem().into(), request))
}
