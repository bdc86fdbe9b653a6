//! EIP-2335 keystores of our own, sound and not.

use crate::support::{key, public_key};
use aws_lc_rs::cipher::{AES_128, DecryptingKey, DecryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2;
use berth_signer::domain::keystore::{Keystore, KeystoreError};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::num::NonZeroU32;

pub(crate) const PASSWORD: &str = "tēst pass\u{7f}word";

/// A keystore that opens with [`PASSWORD`], and cheaply.
pub(crate) fn keystore(number: u8) -> Value {
    let mut json = of_secret(&*key(number).to_bytes());
    json["pubkey"] = json!(hex::encode(public_key(number).0));
    json
}

fn of_secret(secret: &[u8]) -> Value {
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

pub(crate) fn open(json: &Value, password: &str) -> Result<(), KeystoreError> {
    let keystore = Keystore::parse(&json.to_string())?;
    keystore.open(password).map(|_| ())
}

#[test]
fn a_keystore_opens_with_its_password_however_that_is_typed() {
    for password in [
        PASSWORD,
        "te\u{304}st password",
        "\u{0}tēst\u{9f} pass\nword\u{80}",
    ] {
        assert_eq!(open(&keystore(1), password), Ok(()), "{password:?}");
    }
    for password in ["", "test password", "Tēst password", "tēst password "] {
        assert_eq!(
            open(&keystore(1), password),
            Err(KeystoreError::Password),
            "{password:?}"
        );
    }
}

#[test]
fn a_keystore_need_not_say_its_public_key_but_may_not_say_another() {
    let mut json = keystore(1);
    json["pubkey"] = json!(format!("0x{}", hex::encode_upper(public_key(1).0)));
    assert_eq!(open(&json, PASSWORD), Ok(()));
    json.as_object_mut().unwrap().remove("pubkey");
    assert_eq!(open(&json, PASSWORD), Ok(()));
    json["pubkey"] = json!(hex::encode(public_key(2).0));
    let (said, held) = (public_key(2), public_key(1));
    assert_eq!(
        open(&json, PASSWORD),
        Err(KeystoreError::AnotherKey { said, held })
    );
}

#[test]
fn a_keystore_that_holds_no_key_says_so() {
    assert_eq!(
        open(&of_secret(&[0; 32]), PASSWORD),
        Err(KeystoreError::NoKey)
    );
    assert_eq!(
        open(&of_secret(&[0xff; 32]), PASSWORD),
        Err(KeystoreError::NoKey)
    );
}

#[test]
fn another_version_is_named() {
    let mut json = keystore(1);
    for (version, wanted) in [
        (json!(3), KeystoreError::Version(3)),
        (json!(u64::MAX), KeystoreError::Version(u64::MAX)),
        (
            json!("4"),
            KeystoreError::Malformed("it has no version".to_owned()),
        ),
    ] {
        json["version"] = version;
        assert_eq!(open(&json, PASSWORD), Err(wanted));
    }
}

#[test]
fn a_keystore_of_another_form_is_refused_and_says_what_is_wrong() {
    for (pointer, value, said) in [
        ("/crypto/kdf/function", json!("argon2"), "argon2"),
        (
            "/crypto/kdf/params/prf",
            json!("hmac-sha512"),
            "hmac-sha512",
        ),
        ("/crypto/kdf/params/c", json!(-1), "-1"),
        (
            "/crypto/kdf/params/salt",
            json!("0x00"),
            "Invalid character",
        ),
        ("/crypto/checksum/function", json!("crc"), "crc"),
        (
            "/crypto/cipher/function",
            json!("aes-256-cbc"),
            "aes-256-cbc",
        ),
        ("/crypto/cipher/message", json!("abc"), "Odd number"),
        ("/crypto", json!([]), ""),
        ("/pubkey", json!("12"), "96 hex digits"),
    ] {
        let mut json = keystore(1);
        *json.pointer_mut(pointer).unwrap() = value;
        let refused = open(&json, PASSWORD).unwrap_err();
        assert!(matches!(refused, KeystoreError::Malformed(_)), "{refused}");
        assert!(refused.to_string().contains(said), "{pointer}: {refused}");
    }
    let refused = Keystore::parse(&"[".repeat(10_000)).unwrap_err();
    assert!(matches!(refused, KeystoreError::Malformed(_)), "{refused}");
}
