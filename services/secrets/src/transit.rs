//! Encryption by a key that never leaves Vault and that only the signer's role
//! may use.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use vaultrs::api::transit::requests::{DecryptDataRequest, EncryptDataRequest};
use zeroize::Zeroizing;

use crate::{Error, Result, Vault};

/// The one key on the transit mount.
pub(crate) const TRANSIT_KEY: &str = "signer";

impl Vault {
    /// Encrypts a secret; only with the same `bound_to` is it decrypted.
    ///
    /// # Errors
    /// As Vault answers.
    pub async fn encrypt(&self, secret: &[u8], bound_to: &str) -> Result<String> {
        let encrypt = || EncryptDataRequest {
            mount: self.mounts().transit(),
            name: TRANSIT_KEY.to_owned(),
            plaintext: STANDARD.encode(secret),
            associated_data: Some(STANDARD.encode(bound_to)),
            ..EncryptDataRequest::default()
        };
        let operation = format!("encrypting what is bound to {bound_to}");
        Ok(self.data(&operation, encrypt).await?.ciphertext)
    }

    /// The secret again.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the ciphertext is damaged, or bound to
    /// something else; else as Vault answers.
    pub async fn decrypt(&self, ciphertext: &str, bound_to: &str) -> Result<Zeroizing<Vec<u8>>> {
        let decrypt = || DecryptDataRequest {
            mount: self.mounts().transit(),
            name: TRANSIT_KEY.to_owned(),
            ciphertext: ciphertext.to_owned(),
            associated_data: Some(STANDARD.encode(bound_to)),
            ..DecryptDataRequest::default()
        };
        let operation = format!("decrypting what is bound to {bound_to}");
        let plaintext = Zeroizing::new(self.data(&operation, decrypt).await?.plaintext);
        STANDARD
            .decode(&*plaintext)
            .map(Zeroizing::new)
            .map_err(|_| Error::answer(operation))
    }
}
