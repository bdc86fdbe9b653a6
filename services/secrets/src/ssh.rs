//! Certificates for SSH users, minutes long, which a machine believes because
//! it trusts the authority's public key.

use std::time::Duration;

use vaultrs::api::ssh::requests::{ReadPublicKeyRequest, SignSSHKeyRequest};

use crate::{Error, Result, Vault, name};

/// The role of [`Vault::sign_ssh_user`] below the SSH authority.
pub(crate) const SSH_ROLE: &str = "machine";

/// The longest life of a user certificate.
pub(crate) const MAX_LIFE: Duration = Duration::from_mins(30);

/// The longest public key accepted.
const MAX_KEY: usize = 1024;

impl Vault {
    /// Signs an ed25519 public key (one OpenSSH line) for one `principal` and
    /// `life`, with forwarding of ports and sockets and nothing else; returns
    /// the certificate as one OpenSSH line.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the key, the principal or the life (1 minute to
    /// 30) cannot be; else as Vault answers.
    pub async fn sign_ssh_user(
        &self,
        public_key: &str,
        principal: &str,
        life: Duration,
    ) -> Result<String> {
        name::segment("principal", principal)?;
        let public_key = public_key.trim();
        if public_key.len() > MAX_KEY
            || !public_key.starts_with("ssh-ed25519 ")
            || public_key.contains('\n')
        {
            return Err(Error::invalid(
                "public key",
                "must be one OpenSSH line of type ssh-ed25519",
            ));
        }
        if !(Duration::from_mins(1)..=MAX_LIFE).contains(&life) {
            return Err(Error::invalid("life", "must be 1 to 30 minutes"));
        }
        let sign = || SignSSHKeyRequest {
            mount: self.mounts().ssh(),
            name: SSH_ROLE.to_owned(),
            public_key: public_key.to_owned(),
            valid_principals: Some(principal.to_owned()),
            cert_type: Some("user".to_owned()),
            ttl: Some(format!("{}s", life.as_secs())),
            ..SignSSHKeyRequest::default()
        };
        let signed = self.data("signing an SSH user certificate", sign).await?;
        Ok(signed.signed_key.trim().to_owned())
    }

    /// The authority's public key, as one OpenSSH line for `TrustedUserCAKeys`.
    ///
    /// # Errors
    /// As Vault answers.
    pub async fn ssh_ca_public_key(&self) -> Result<String> {
        let read = || ReadPublicKeyRequest {
            mount: self.mounts().ssh(),
        };
        let read = self
            .data("reading the SSH authority's public key", read)
            .await?;
        Ok(read.public_key.trim().to_owned())
    }
}
