//! EIP-2335 keystores of our own, sound and not.

use crate::made::public_key;
use crate::made::{PASSWORD, keystore, of_secret};
use berth_signer::domain::keystore::{Keystore, KeystoreError};
use serde_json::{Value, json};

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
