//! What only the signer keeps in Vault: validator keys, what their owners
//! withdrew, the key that keystores are sealed to, and its anchor. In KV version
//! 2, on a mount of its own.
//!
//! Every write names the version that it replaces. The policy permits the
//! update of the anchor only: all other records are created once, and those of
//! withdrawals stay for ever.

use std::{collections::BTreeMap, fmt};

use serde_json::json;
use uuid::Uuid;
use vaultrs::api::kv2::requests::{
    DeleteSecretMetadataRequest, ListSecretsRequest, ReadSecretRequest, SetSecretRequest,
    SetSecretRequestOptions,
};

use crate::{Error, Result, Vault};

/// Where the signer keeps something.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SignerPath(String);

impl SignerPath {
    /// A validator's key, by its public key: `validators/<hex>`.
    #[must_use]
    pub fn validator(public_key: &[u8; 48]) -> Self {
        Self(format!("validators/{}", hex(public_key)))
    }

    /// The folder of what owners withdrew from the signers on one database.
    #[must_use]
    pub fn withdrawals(database_id: Uuid) -> Self {
        Self(format!("withdrawn/{database_id}"))
    }

    /// One withdrawal of a validator's key: `withdrawn/<database>/<hex>.<number>`.
    #[must_use]
    pub fn withdrawal(database_id: Uuid, public_key: &[u8; 48], number: i64) -> Self {
        let folder = Self::withdrawals(database_id);
        Self(format!("{folder}/{}.{number}", hex(public_key)))
    }

    /// The key that keystores are sealed to.
    #[must_use]
    pub fn sealing_key() -> Self {
        Self("signer/sealing-key".to_owned())
    }

    /// What the signer's database is held against at start.
    #[must_use]
    pub fn anchor() -> Self {
        Self("signer/anchor".to_owned())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl fmt::Display for SignerPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the signer keeps at one path: public facts and ciphertexts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Grows by one with each write, from 1.
    pub version: u32,
    /// Its fields by name.
    pub fields: BTreeMap<String, String>,
}

impl Vault {
    /// The record at `path`, or nothing.
    ///
    /// # Errors
    /// As Vault answers; never [`Error::NotFound`].
    pub async fn read_record(&self, path: &SignerPath) -> Result<Option<Record>> {
        let operation = format!("reading {path}");
        let read = || ReadSecretRequest {
            mount: self.mounts().keys(),
            path: path.to_string(),
            version: None,
        };
        let found = match self.data(&operation, read).await {
            Ok(found) => found,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let (Ok(version), Ok(fields)) = (
            u32::try_from(found.metadata.version),
            serde_json::from_value(found.data),
        ) else {
            return Err(Error::answer(operation));
        };
        Ok(Some(Record { version, fields }))
    }

    /// Writes a record in place of the version `replaces`, 0 for none, and
    /// returns the new version; nothing when another version is there.
    ///
    /// After an error it may have been written all the same.
    ///
    /// # Errors
    /// As Vault answers.
    pub async fn write_record(
        &self,
        path: &SignerPath,
        fields: &BTreeMap<String, String>,
        replaces: u32,
    ) -> Result<Option<u32>> {
        let operation = format!("writing {path}");
        let write = || SetSecretRequest {
            mount: self.mounts().keys(),
            path: path.to_string(),
            data: json!(fields),
            options: Some(SetSecretRequestOptions { cas: replaces }),
        };
        match self.data(&operation, write).await {
            Ok(written) => u32::try_from(written.version)
                .map(Some)
                .map_err(|_| Error::answer(operation)),
            Err(Error::Invalid { problem, .. }) if problem.contains("check-and-set") => Ok(None),
            // Where the policy permits no update, a second write is denied as
            // one before the compare-and-set is looked at.
            Err(denied @ Error::Denied { .. }) if replaces == 0 => {
                match self.read_record(path).await? {
                    Some(_) => Ok(None),
                    None => Err(denied),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// The names of all records in a folder.
    ///
    /// # Errors
    /// As Vault answers; never [`Error::NotFound`].
    pub async fn list_records(&self, folder: &SignerPath) -> Result<Vec<String>> {
        let list = || ListSecretsRequest {
            mount: self.mounts().keys(),
            path: folder.to_string(),
        };
        match self.data(&format!("listing {folder}"), list).await {
            Ok(listed) => Ok(listed.keys),
            Err(Error::NotFound { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Destroys a validator's record with all its versions; nothing there is
    /// fine.
    ///
    /// # Errors
    /// As Vault answers; [`Error::Denied`] for what is no validator's.
    pub async fn destroy_record(&self, path: &SignerPath) -> Result<()> {
        let operation = format!("destroying {path}");
        let destroy = || DeleteSecretMetadataRequest {
            mount: self.mounts().keys(),
            path: path.to_string(),
        };
        self.data(&operation, destroy).await
    }
}
