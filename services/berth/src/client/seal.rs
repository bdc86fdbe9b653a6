//! Sealing a keystore to the signer: HPKE (RFC 9180) in base mode with X25519,
//! HKDF-SHA256 and ChaCha20-Poly1305, so that nothing between this computer and
//! the signer sees the password, nor uses it for another account.

use super::keystore_files::Keystore;
use anyhow::{Context as _, ensure};
use berth_core::AccountId;
use berth_proto::signing::v1 as pb;
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_CHACHA20_POLY1305 as SUITE;
use rustls::crypto::hpke::{Hpke as _, HpkePublicKey};
use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde_json::Value;
use zeroize::Zeroizing;

/// Binds what is sealed to this use of the key; the signer has the same.
const INFO: &[u8] = b"berth keystore v1";

/// What the signer published, and for whom.
#[derive(Debug)]
pub(super) struct Seal {
    public_key: HpkePublicKey,
    account_id: AccountId,
}

/// What is sealed.
#[derive(Serialize)]
struct Content<'a> {
    keystore: &'a Value,
    password: &'a str,
}

impl Seal {
    /// The seal of an answer.
    pub(super) fn new(answer: pb::GetSealingKeyResponse) -> anyhow::Result<Self> {
        ensure!(
            answer.public_key.len() == 32,
            "the signer published a sealing key of {} bytes, not of 32; nothing was sent",
            answer.public_key.len()
        );
        let account_id = answer
            .account_id
            .parse()
            .context("Berth does not say for which account to seal; nothing was sent")?;
        Ok(Self {
            public_key: HpkePublicKey(answer.public_key),
            account_id,
        })
    }

    /// Seals one.
    pub(super) fn close(&self, keystore: &Keystore) -> anyhow::Result<pb::SealedKeystore> {
        let content = Content {
            keystore: &keystore.json,
            password: keystore.password.expose_secret(),
        };
        // Sized beforehand, as a buffer that grows leaves copies behind; six
        // bytes are the longest that JSON makes of one.
        let most = keystore.size + content.password.len() * 6 + 64;
        let mut plain = Zeroizing::new(Vec::with_capacity(most));
        serde_json::to_writer(&mut *plain, &content)?;
        let aad = self.account_id.to_string();
        let (encapsulated, ciphertext) = SUITE
            .seal(INFO, aad.as_bytes(), &plain, &self.public_key)
            .context("the sealing key of the signer is none; nothing was sent")?;
        Ok(pb::SealedKeystore {
            encapsulated_key: encapsulated.0,
            ciphertext,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::crypto::hpke::EncapsulatedSecret;
    use serde_json::json;
    use std::path::PathBuf;

    fn keystore() -> Keystore {
        let json = json!({ "crypto": {}, "version": 4 });
        Keystore {
            path: PathBuf::from("a.json"),
            public_key: None,
            size: json.to_string().len(),
            json,
            password: "pass \"wörd\u{1}\u{1}\u{1}\n".to_owned().into(),
        }
    }

    fn answer(public_key: Vec<u8>, account_id: &str) -> pb::GetSealingKeyResponse {
        pb::GetSealingKeyResponse {
            public_key,
            account_id: account_id.to_owned(),
        }
    }

    #[test]
    fn only_the_signer_opens_what_is_sealed_and_only_for_the_account() {
        let (public_key, private_key) = SUITE.generate_key_pair().unwrap();
        let account = AccountId::generate().to_string();
        let seal = Seal::new(answer(public_key.0, &account)).unwrap();
        let sealed = seal.close(&keystore()).unwrap();
        let open = |info: &[u8], aad: &str| {
            let encapsulated = EncapsulatedSecret(sealed.encapsulated_key.clone());
            let aad = aad.as_bytes();
            SUITE.open(&encapsulated, info, aad, &sealed.ciphertext, &private_key)
        };
        let content: Value = serde_json::from_slice(&open(INFO, &account).unwrap()).unwrap();
        let keystore = keystore();
        assert_eq!(content["keystore"], keystore.json);
        assert_eq!(content["password"], keystore.password.expose_secret());
        assert_eq!(content.as_object().unwrap().len(), 2);
        assert!(open(INFO, &AccountId::generate().to_string()).is_err());
        assert!(open(b"another use", &account).is_err());
        assert_ne!(
            sealed.encapsulated_key,
            seal.close(&keystore).unwrap().encapsulated_key
        );
    }

    #[test]
    fn nothing_is_sealed_to_what_is_no_key_or_for_nobody() {
        let account = AccountId::generate().to_string();
        assert!(Seal::new(answer(vec![1; 31], &account)).is_err());
        assert!(Seal::new(answer(vec![9; 32], "")).is_err());
        assert!(Seal::new(answer(vec![9; 32], "node-1")).is_err());
        // A point of small order: the shared secret would be known to all.
        let seal = Seal::new(answer(vec![0; 32], &account)).unwrap();
        assert!(seal.close(&keystore()).is_err());
    }
}
