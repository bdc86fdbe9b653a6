//! Signing roots of every type, fork and preset on random objects, against the
//! executable specification (`roots.py`).
//!
//! `BERTH_ROOT_CASES` and `BERTH_ROOT_SEED` try more of them.

use crate::chain::begin;
use berth_signer::domain::bls::SigningKey;
use berth_signer::domain::eth::deposit::{Deposit, DepositMessage};
use berth_signer::domain::eth::exit::VoluntaryExit;
use berth_signer::domain::eth::{Policy, SignRequest};
use berth_signer::domain::refusal::Reason;
use berth_signer::domain::{Address, Chain, Preset, PublicKey, Root};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::env;
use std::path::PathBuf;
use std::process::Command;

/// Where `scripts/bootstrap` puts the specification.
fn specification() -> PathBuf {
    let pins = include_str!("requirements.txt");
    let pinned = |line: &'static str| line.strip_prefix("eth-consensus-specs==");
    let version = pins.lines().find_map(pinned).unwrap();
    let version = version.trim_end_matches([' ', '\\']);
    let below = |name: &str, rest: &str| env::var_os(name).map(|at| PathBuf::from(at).join(rest));
    let cache = below("BERTH_CACHE", "")
        .or_else(|| below("XDG_CACHE_HOME", "berth"))
        .or_else(|| below("HOME", ".cache/berth"));
    cache.unwrap().join("specification").join(version)
}

fn generate(preset: Preset) -> String {
    let setting = |name: &str, usual: &str| env::var_os(name).unwrap_or_else(|| usual.into());
    let cases = setting("BERTH_ROOT_CASES", "5");
    let seed = setting("BERTH_ROOT_SEED", "1");
    println!("{} cases of each, seed {}", cases.display(), seed.display());
    let output = Command::new("python3")
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/compat/roots.py"
        ))
        .args([preset.name().as_ref(), cases.as_os_str(), seed.as_os_str()])
        .env("PYTHONPATH", specification())
        .output()
        .unwrap();
    let problems = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "run make bootstrap; {problems}");
    String::from_utf8(output.stdout).unwrap()
}

fn pinned(line: &str, preset: Preset) -> Chain {
    let mut pins: Value = serde_json::from_str(line).unwrap();
    Chain {
        name: "ethereum-test".to_owned(),
        genesis_validators_root: Root::deserialize(&pins["genesis_validators_root"]).unwrap(),
        genesis_time: 1_700_000_000,
        seconds_per_slot: 12,
        preset,
        forks: serde_json::from_value(pins["forks"].take()).unwrap(),
    }
}

/// The root that we compute; what is signed for owners only is asked of other
/// functions, and refused here.
fn ours(chain: &Chain, line: &str, body: &Value) -> Root {
    let mut now = begin(chain, body["now_slot"].as_u64().unwrap());
    let mut policy = crate::chain::STRICT;
    let refusal = SignRequest::parse(line.as_bytes()).err();
    match body["type"].as_str().unwrap() {
        "VOLUNTARY_EXIT" => {
            assert_eq!(refusal.unwrap().reason, Reason::TypeNotPermitted);
            let exit = VoluntaryExit::deserialize(&body["voluntary_exit"]).unwrap();
            return exit.signing_root(chain, now).unwrap();
        }
        "DEPOSIT" => {
            assert_eq!(refusal.unwrap().reason, Reason::TypeNotPermitted);
            let deposit = DepositMessage::deserialize(&body["deposit"]).unwrap();
            return deposit.signing_root(chain);
        }
        "VALIDATOR_REGISTRATION" => {
            let registration = &body["validator_registration"];
            now = registration["timestamp"].as_str().unwrap().parse().unwrap();
            policy = Policy {
                public_key: PublicKey::deserialize(&registration["pubkey"]).unwrap(),
                fee_recipient: Some(Address::deserialize(&registration["fee_recipient"]).unwrap()),
                gas_limit: u64::MAX,
            };
        }
        _ => {}
    }
    let request = SignRequest::parse(line.as_bytes()).unwrap();
    let checked = request.check(chain, &policy, now);
    checked
        .unwrap_or_else(|refusal| panic!("{refusal}: {line}"))
        .1
}

fn compare(preset: Preset) {
    let text = generate(preset);
    let mut lines = text.lines();
    let chain = pinned(lines.next().unwrap(), preset);
    let mut kinds = BTreeSet::new();
    for line in lines {
        let body: Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            json!(ours(&chain, line, &body)),
            body["signingRoot"],
            "{line}"
        );
        kinds.insert(body["type"].to_string());
    }
    assert_eq!(kinds.len(), 12, "{kinds:?}");
}

#[test]
fn roots_of_mainnet_are_those_of_the_specification() {
    compare(Preset::Mainnet);
}

#[test]
fn roots_of_minimal_are_those_of_the_specification() {
    compare(Preset::Minimal);
}

#[test]
fn a_deposit_form_has_the_roots_of_the_specification() {
    let key = SigningKey::from_bytes(&[5; 32]).unwrap();
    let chain = crate::chain::chain(Preset::Mainnet);
    let form = json!(Deposit::new(&chain, &key, Address([0xab; 20])));
    assert_eq!(form["amount"], 32_000_000_000_u64);
    assert_eq!(form["network_name"], "test");
    assert_eq!(form["fork_version"], "00000001");
    let credentials = format!("01{}{}", "00".repeat(11), "ab".repeat(20));
    assert_eq!(form["withdrawal_credentials"], credentials);
    // Computed by the specification for this key and its signature.
    let message_root = "70389dfff9f72e11040b142f77dcd21a7714c8476cb4e14afe347305f0f94d37";
    let data_root = "c6b2ffc3bcb61b379f23a1d44fe24b56a946627532dc0135ecebe57fc47466c0";
    assert_eq!(form["deposit_message_root"], message_root);
    assert_eq!(form["deposit_data_root"], data_root);
    let message = DepositMessage::new(key.public_key(), Address([0xab; 20]));
    let signature = form["signature"].as_str().unwrap().parse().unwrap();
    assert!(
        key.public_key()
            .signed(&message.signing_root(&chain), &signature)
    );
}
