//! Secrets of nodes and of webhooks, in KV version 2: created once, read, and
//! deleted whole.
//!
//! Deliberately absent: an update. The first writer wins, so two replicas that
//! generate the same key at once end with one key.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use vaultrs::api::kv2::requests::{
    DeleteSecretMetadataRequest, ListSecretsRequest, ReadSecretRequest, SetSecretRequest,
    SetSecretRequestOptions,
};

use crate::{Error, Result, SecretPath, Vault, name};

/// A secret's fields by name; the values print as redacted.
pub type SecretMap = BTreeMap<String, SecretString>;

/// The most that one secret may hold.
const MAX_SECRET: usize = 64 * 1024;

impl Vault {
    /// The secret at `path`, or nothing.
    ///
    /// # Errors
    /// As Vault answers; never [`Error::NotFound`].
    pub async fn read_secret(&self, path: &SecretPath) -> Result<Option<SecretMap>> {
        let (mount, path) = (self.mounts().kv(), path.to_string());
        let operation = format!("reading {path}");
        let read = || ReadSecretRequest {
            mount: mount.to_owned(),
            path: path.clone(),
            version: None,
        };
        match self.data(&operation, read).await {
            Ok(found) => {
                let fields: BTreeMap<String, String> =
                    serde_json::from_value(found.data).map_err(|_| Error::answer(operation))?;
                Ok(Some(
                    fields.into_iter().map(|(k, v)| (k, v.into())).collect(),
                ))
            }
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Stores `secret` at `path` unless there is one, and returns what is
    /// stored then: the first writer wins.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the secret is empty or too large, else as Vault
    /// answers.
    pub async fn create_secret(&self, path: &SecretPath, secret: &SecretMap) -> Result<SecretMap> {
        let size: usize = secret
            .iter()
            .map(|(k, v)| k.len() + v.expose_secret().len())
            .sum();
        if secret.is_empty() || size > MAX_SECRET {
            return Err(Error::invalid(
                path.to_string(),
                "a secret holds 1 byte to 64 KiB",
            ));
        }
        let (mount, text) = (self.mounts().kv(), path.to_string());
        let operation = format!("creating {text}");
        let fields: BTreeMap<&str, &str> = secret
            .iter()
            .map(|(k, v)| (k.as_str(), v.expose_secret()))
            .collect();
        let write = || SetSecretRequest {
            mount: mount.to_owned(),
            path: text.clone(),
            data: json!(fields),
            options: Some(SetSecretRequestOptions { cas: 0 }),
        };
        match self.data(&operation, write).await {
            Ok(_) => Ok(secret.clone()),
            // The policy permits no update: a second write is denied, as an
            // update, before the compare-and-set is looked at.
            Err(refused @ (Error::Denied { .. } | Error::Invalid { .. })) => {
                self.read_secret(path).await?.ok_or(refused)
            }
            Err(error) => Err(error),
        }
    }

    /// Deletes the secret at `path` with all its versions; nothing there is
    /// fine.
    ///
    /// # Errors
    /// As Vault answers.
    pub async fn delete_secret(&self, path: &SecretPath) -> Result<()> {
        let (mount, path) = (self.mounts().kv(), path.to_string());
        let operation = format!("deleting {path}");
        let delete = || DeleteSecretMetadataRequest {
            mount: mount.to_owned(),
            path: path.clone(),
        };
        self.data(&operation, delete).await
    }

    /// Deletes all secrets of a node; none there is fine.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the id is none, else as Vault answers.
    pub async fn delete_node_secrets(&self, node_id: &str) -> Result<()> {
        let (mount, folder) = (
            self.mounts().kv(),
            format!("nodes/{}", name::segment("node id", node_id)?),
        );
        let operation = format!("listing {folder}");
        let list = || ListSecretsRequest {
            mount: mount.to_owned(),
            path: folder.clone(),
        };
        let names = match self.data(&operation, list).await {
            Ok(listed) => listed.keys,
            Err(Error::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        for name in names {
            self.delete_secret(&SecretPath::node(node_id, &name)?)
                .await?;
        }
        Ok(())
    }
}
