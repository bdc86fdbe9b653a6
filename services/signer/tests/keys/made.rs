//! Keys and keystores of our own, plain and sealed.

use aws_lc_rs::cipher::{AES_128, DecryptingKey, DecryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2;
use berth_core::AccountId;
use berth_signer::domain::{PublicKey, SigningKey};
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_CHACHA20_POLY1305 as SUITE;
use rustls::crypto::hpke::{Hpke as _, HpkePublicKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::num::NonZeroU32;

/// A key of its own for each number from 1.
pub(crate) fn key(number: u8) -> SigningKey {
    let mut bytes = [0; 32];
    bytes[31] = number;
    SigningKey::from_bytes(&bytes).unwrap()
}

pub(crate) fn public_key(number: u8) -> PublicKey {
    key(number).public_key()
}

pub(crate) const PASSWORD: &str = "tēst pass\u{7f}word";

/// A keystore that opens with [`PASSWORD`], and cheaply.
pub(crate) fn keystore(number: u8) -> Value {
    let mut json = of_secret(&*key(number).to_bytes());
    json["pubkey"] = json!(hex::encode(public_key(number).0));
    json
}

pub(crate) fn of_secret(secret: &[u8]) -> Value {
    let mut derived = [0; 32];
    let rounds = NonZeroU32::new(2).unwrap();
    // Decomposed and without the control code.
    let password = "te\u{304}st password".as_bytes();
    let function = pbkdf2::PBKDF2_HMAC_SHA256;
    pbkdf2::derive(function, rounds, &[1; 32], password, &mut derived);
    let mut message = secret.to_vec();
    // In this mode both directions are the same.
    let cipher = UnboundCipherKey::new(&AES_128, &derived[..16]).unwrap();
    DecryptingKey::ctr(cipher)
        .unwrap()
        .decrypt(
            &mut message,
            DecryptionContext::Iv128(FixedLength::from([2; 16])),
        )
        .unwrap();
    let checksum = Sha256::new()
        .chain_update(&derived[16..])
        .chain_update(&message)
        .finalize();
    json!({
        "crypto": {
            "kdf": {
                "function": "pbkdf2",
                "params": {
                    "dklen": 32, "c": 2, "prf": "hmac-sha256", "salt": hex::encode([1; 32]),
                },
                "message": "",
            },
            "checksum": { "function": "sha256", "params": {}, "message": hex::encode(checksum) },
            "cipher": {
                "function": "aes-128-ctr",
                "params": { "iv": hex::encode([2; 16]) },
                "message": hex::encode(message),
            },
        },
        "path": "m/12381/3600/0/0/0",
        "uuid": "1d85ae20-35c5-4611-98e8-aa14a633906f",
        "version": 4,
    })
}

/// As an owner's CLI does it.
pub(crate) fn seal(to: &[u8], info: &str, account: AccountId, content: &str) -> (Vec<u8>, Vec<u8>) {
    let public_key = HpkePublicKey(to.to_vec());
    let aad = account.to_string();
    let (encapsulated, ciphertext) = SUITE
        .seal(
            info.as_bytes(),
            aad.as_bytes(),
            content.as_bytes(),
            &public_key,
        )
        .unwrap();
    (encapsulated.0, ciphertext)
}

pub(crate) const INFO: &str = "berth keystore v1";

pub(crate) fn content(keystore: &Value) -> String {
    json!({ "keystore": keystore, "password": PASSWORD }).to_string()
}
