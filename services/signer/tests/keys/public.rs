//! Public vectors: BLS, EIP-2333 and EIP-2335.

use crate::vectors;
use berth_signer::domain::derive::derive;
use berth_signer::domain::keystore::{Keystore, KeystoreError};
use berth_signer::domain::{PublicKey, Root, Signature, SigningKey};
use serde_json::Value;
use std::fs;
use std::path::Path;

const BLS: &str = "github.com/ethereum/bls12-381-tests";
const KEYSTORES: &str = "EIP-2333 and EIP-2335";

/// What the files of a folder hold, by name.
fn cases(folder: &Path) -> Vec<(String, Value)> {
    let file = |path: &Path| {
        let text = fs::read_to_string(path).unwrap();
        (
            path.display().to_string(),
            serde_json::from_str(&text).unwrap(),
        )
    };
    let files = fs::read_dir(folder).unwrap();
    let cases: Vec<_> = files.map(|entry| file(&entry.unwrap().path())).collect();
    assert!(!cases.is_empty(), "{}", folder.display());
    cases
}

fn text<'a>(case: &'a Value, field: &str) -> &'a str {
    case["input"][field].as_str().unwrap()
}

#[test]
fn signatures_are_those_of_the_public_vectors() {
    let Some(folder) = vectors::folder("bls", BLS) else {
        return;
    };
    for (name, case) in cases(&folder.join("sign")) {
        let secret = hex::decode(text(&case, "privkey").trim_start_matches("0x")).unwrap();
        let root: Root = text(&case, "message").parse().unwrap();
        let key = SigningKey::from_bytes(&secret);
        let signature = key.ok().map(|key| key.sign(&root).to_string());
        assert_eq!(signature.as_deref(), case["output"].as_str(), "{name}");
    }
}

#[test]
fn signatures_verify_as_in_the_public_vectors() {
    let Some(folder) = vectors::folder("bls", BLS) else {
        return;
    };
    for (name, case) in cases(&folder.join("verify")) {
        let root: Root = text(&case, "message").parse().unwrap();
        let key = text(&case, "pubkey").parse::<PublicKey>();
        let signature = text(&case, "signature").parse::<Signature>();
        // One of another length does not even parse.
        let verified = key.is_ok_and(|key| signature.is_ok_and(|it| key.signed(&root, &it)));
        assert_eq!(verified, case["output"].as_bool().unwrap(), "{name}");
    }
}

#[test]
fn keystores_open_as_in_the_public_vectors() {
    let Some(folder) = vectors::folder("eip2335", KEYSTORES) else {
        return;
    };
    let text = fs::read_to_string(folder.join("vectors.json")).unwrap();
    let vectors: Value = serde_json::from_str(&text).unwrap();
    let password = vectors["password"].as_str().unwrap();
    let keystores = vectors["keystores"].as_array().unwrap();
    assert!(!keystores.is_empty());
    for json in keystores {
        let keystore = Keystore::parse(&json.to_string()).unwrap();
        let key = keystore.open(password).unwrap();
        assert_eq!(
            hex::encode(*key.to_bytes()),
            vectors["secret"].as_str().unwrap()
        );
        assert_eq!(Some(key.public_key()), keystore.public_key);
        let refused = keystore.open("testpassword").unwrap_err();
        assert_eq!(refused, KeystoreError::Password);
    }
}

#[test]
fn keys_derive_as_in_the_public_vectors() {
    let Some(folder) = vectors::folder("eip2335", KEYSTORES) else {
        return;
    };
    let text = fs::read_to_string(folder.join("eip2333_testcases.md")).unwrap();
    let mut tried = 0;
    for case in text.split("seed = 0x").skip(1) {
        let seed = hex::decode(case.lines().next().unwrap().trim()).unwrap();
        let field = |name: &str| {
            let rest = case.split(&format!("{name} = ")).nth(1)?;
            rest.lines().next().map(str::trim)
        };
        let (Some(master), Some(index)) = (field("master_SK"), field("child_index")) else {
            panic!("a case without a key: {case}");
        };
        assert_eq!(decimal(&derive(&seed, &[]).unwrap()), master);
        let child = derive(&seed, &[index.parse().unwrap()]).unwrap();
        if let Some(wanted) = field("child_SK") {
            assert_eq!(decimal(&child), wanted);
            tried += 1;
        }
    }
    assert!(tried >= 4, "{tried}");
}

/// A key as the vectors write it.
fn decimal(key: &SigningKey) -> String {
    let mut digits = vec![0_u32];
    for byte in *key.to_bytes() {
        let mut carry = u32::from(byte);
        for digit in &mut digits {
            carry += *digit * 256;
            *digit = carry % 10;
            carry /= 10;
        }
        while carry > 0 {
            digits.push(carry % 10);
            carry /= 10;
        }
    }
    digits.iter().rev().map(u32::to_string).collect()
}
