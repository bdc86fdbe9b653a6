//! The key that owners seal keystores to, so that nothing between their CLI and
//! the signer sees them: HPKE (RFC 9180) in base mode with X25519, HKDF-SHA256
//! and ChaCha20-Poly1305. One pair for all replicas, kept in Vault.

use crate::domain::keystore::{Keystore, KeystoreError};
use berth_core::AccountId;
use berth_secrets::{SignerPath, Vault};
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_CHACHA20_POLY1305 as SUITE;
use rustls::crypto::hpke::{EncapsulatedSecret, Hpke as _, HpkePrivateKey};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use zeroize::Zeroizing;

/// Binds what is sealed to this use of the key; the CLI has the same.
const INFO: &[u8] = b"berth keystore v1";

/// The most that one keystore and its password take, sealed.
const MAX_CONTENT: usize = 64 * 1024;

/// Why there is no sealing key.
#[derive(Debug, thiserror::Error)]
pub enum NoSealingKey {
    /// Its record is not one that a signer wrote.
    #[error("the record of the sealing key in Vault is damaged")]
    Damaged,
    /// The cryptography of this machine refused.
    #[error("this machine cannot make an X25519 key")]
    Refused,
    /// Vault did not answer, or refused.
    #[error(transparent)]
    Vault(#[from] berth_secrets::Error),
}

/// Why a sealed keystore was not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotOpened {
    /// Sealed to another key or for another account, or damaged.
    #[error("not sealed to this signer's key for this account: fetch the sealing key again")]
    Sealed,
    /// What was sealed is not what it should be.
    #[error("not a JSON object with `keystore` and `password`")]
    Content,
    /// The keystore in it is none.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
}

/// The pair.
pub struct SealingKey {
    public_key: Vec<u8>,
    private_key: HpkePrivateKey,
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(REDACTED)")
    }
}

impl SealingKey {
    /// The pair in Vault; made now where there is none. Of several replicas
    /// that make one at once the first wins.
    ///
    /// # Errors
    ///
    /// [`NoSealingKey`].
    pub async fn obtain(vault: &Vault) -> Result<Self, NoSealingKey> {
        if let Some(pair) = Self::read(vault).await? {
            return Ok(pair);
        }
        let (public_key, private_key) = SUITE
            .generate_key_pair()
            .map_err(|_| NoSealingKey::Refused)?;
        let public_key = hex::encode(public_key.0);
        let ciphertext = vault
            .encrypt(private_key.secret_bytes(), &bound_to(&public_key))
            .await?;
        let fields = BTreeMap::from([
            ("public_key".to_owned(), public_key),
            ("ciphertext".to_owned(), ciphertext),
        ]);
        vault
            .write_record(&SignerPath::sealing_key(), &fields, 0)
            .await?;
        Self::read(vault).await?.ok_or(NoSealingKey::Damaged)
    }

    /// What owners seal to, 32 bytes.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// A keystore and its password that an account sealed.
    ///
    /// # Errors
    ///
    /// [`NotOpened`].
    pub fn open(
        &self,
        account_id: AccountId,
        encapsulated_key: &[u8],
        ciphertext: &[u8],
    ) -> Result<(Keystore, SecretString), NotOpened> {
        if ciphertext.len() > MAX_CONTENT {
            return Err(NotOpened::Content);
        }
        let encapsulated = EncapsulatedSecret(encapsulated_key.to_vec());
        let aad = account_id.to_string();
        let content = SUITE
            .open(
                &encapsulated,
                INFO,
                aad.as_bytes(),
                ciphertext,
                &self.private_key,
            )
            .map(Zeroizing::new)
            .map_err(|_| NotOpened::Sealed)?;
        // What serde says of it could quote the password.
        let content: Content = serde_json::from_slice(&content).map_err(|_| NotOpened::Content)?;
        let keystore = Keystore::from_json(content.keystore)?;
        Ok((keystore, content.password))
    }

    async fn read(vault: &Vault) -> Result<Option<Self>, NoSealingKey> {
        let Some(record) = vault.read_record(&SignerPath::sealing_key()).await? else {
            return Ok(None);
        };
        let field = |name| record.fields.get(name).ok_or(NoSealingKey::Damaged);
        let public_key = field("public_key")?;
        let private_key = vault
            .decrypt(field("ciphertext")?, &bound_to(public_key))
            .await?;
        Ok(Some(Self {
            public_key: hex::decode(public_key).map_err(|_| NoSealingKey::Damaged)?,
            private_key: HpkePrivateKey::from(private_key.to_vec()),
        }))
    }
}

/// What owners seal.
#[derive(Deserialize)]
struct Content {
    keystore: Value,
    password: SecretString,
}

/// Nobody can put another public key beside the private one.
fn bound_to(public_key: &str) -> String {
    format!("sealing key {public_key}")
}
