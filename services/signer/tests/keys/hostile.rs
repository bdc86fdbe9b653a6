//! Keystores made to take all memory or all time of the signer.

use crate::keystores::open;
use crate::made::{PASSWORD, keystore};
use berth_signer::domain::keystore::{Keystore, KeystoreError};
use proptest::prelude::*;
use serde_json::{Value, json};

fn refused_by_its_parameters(json: &Value) {
    let refused = open(json, PASSWORD).unwrap_err();
    assert!(
        matches!(refused, KeystoreError::Parameter(_)),
        "{json}: {refused}"
    );
}

fn with(pointer: &str, value: Value) -> Value {
    let mut json = keystore(1);
    *json.pointer_mut(pointer).unwrap() = value;
    json
}

fn scrypt(n: u64, r: u32, p: u32) -> Value {
    let params = json!({ "dklen": 32, "n": n, "r": r, "p": p, "salt": "00" });
    with(
        "/crypto/kdf",
        json!({ "function": "scrypt", "params": params, "message": "" }),
    )
}

#[test]
fn what_would_take_too_much_memory_or_time_is_refused_before_it_begins() {
    for (n, r, p) in [
        (1 << 19, 8, 1),
        (1 << 40, 8, 1),
        (1 << 63, 1, 1),
        (1 << 63, u32::MAX, u32::MAX),
        (2, u32::MAX, 1),
        (2, 1, u32::MAX),
        // Little memory to mix, and much to begin with.
        (1, 1, 1 << 23),
        (2, 1 << 21, 2),
        // Little memory, and hours.
        (1 << 18, 8, 5),
        (1 << 10, 1, 1 << 20),
        // None of scrypt.
        (0, 8, 1),
        (3, 8, 1),
        (u64::MAX, 8, 1),
        (16, 0, 1),
        (16, 8, 0),
        (1 << 63, 0, 1),
    ] {
        refused_by_its_parameters(&scrypt(n, r, p));
    }
    for rounds in [0, (1 << 22) + 1, u32::MAX] {
        refused_by_its_parameters(&with("/crypto/kdf/params/c", json!(rounds)));
    }
    for length in [0, 16, 31, 33, u64::MAX] {
        refused_by_its_parameters(&with("/crypto/kdf/params/dklen", json!(length)));
    }
    for iv in ["", "00", &"00".repeat(17)] {
        refused_by_its_parameters(&with("/crypto/cipher/params/iv", json!(iv)));
    }
    for message in ["", "00", &"00".repeat(31), &"00".repeat(4000)] {
        refused_by_its_parameters(&with("/crypto/cipher/message", json!(message)));
    }
    let long = with("/crypto/kdf/params/salt", json!("00".repeat(10_000)));
    assert_eq!(
        open(&long, PASSWORD),
        Err(KeystoreError::Malformed("longer than 16 KiB".to_owned()))
    );
}

/// A value that a place in a keystore may have: of the right kind or not.
fn anything() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0..64u64).prop_map(|bits| json!(1u64 << bits)),
        ".*".prop_map(Value::from),
        "[0-9a-f]{0,80}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
    ]
}

const PLACES: [&str; 15] = [
    "/crypto",
    "/crypto/kdf",
    "/crypto/kdf/function",
    "/crypto/kdf/params",
    "/crypto/kdf/params/dklen",
    "/crypto/kdf/params/c",
    "/crypto/kdf/params/salt",
    "/crypto/checksum",
    "/crypto/checksum/function",
    "/crypto/checksum/message",
    "/crypto/cipher",
    "/crypto/cipher/params/iv",
    "/crypto/cipher/message",
    "/pubkey",
    "/version",
];

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in ".*", password in ".*") {
        if let Ok(keystore) = Keystore::parse(&text) {
            keystore.open(&password).ok();
        }
    }

    #[test]
    fn no_value_in_any_place_makes_it_panic_or_opens_with_a_wrong_password(
        place in proptest::sample::select(&PLACES),
        value in anything(),
        password in ".{0,40}",
    ) {
        prop_assert!(open(&with(place, value), &password).is_err());
    }

    #[test]
    fn no_parameters_of_scrypt_make_it_panic(
        n in prop_oneof![any::<u64>(), (0..64u32).prop_map(|bits| 1u64 << bits), 0..32u64],
        r in prop_oneof![any::<u32>(), 0..9u32],
        p in prop_oneof![any::<u32>(), 0..3u32],
    ) {
        // What is within bounds is cheap enough to try only where it is small.
        let small = u128::from(n) * u128::from(r) * u128::from(p) <= 1 << 12;
        let bound = 128 * u128::from(r) * (u128::from(n) + u128::from(p)) > 1 << 29;
        if small || bound {
            prop_assert!(open(&scrypt(n, r, p), PASSWORD).is_err());
        }
    }
}
