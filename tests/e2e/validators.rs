//! Validators of a real network of Ethereum, whose keys only the signers hold:
//! they attest from a leased machine while signers are killed, and nothing that
//! they signed could be slashed.

use crate::exit;
use crate::refused;
use crate::story::{retire, text};
use berth_rig::Machine;
use berth_rig::devnet::{Devnet, Network};
use berth_tests::{Berth, eventually};
use serde_json::Value;
use std::fs;
use std::time::Duration;

const NODE: &str = "validators";
const LEASED: u8 = 4;
const FEES: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
/// Epochs of the network that are to be final.
const FINAL: u64 = 5;
/// An epoch takes sixteen seconds, and the second after it makes it final.
const EARNS: Duration = Duration::from_mins(6);

/// From keystores to what the chain says of them.
pub(crate) fn earn(berth: &Berth) {
    let network = berth.register(Network::Ethereum { leased: LEASED });
    let launched = launch(berth, &network);
    let machine_id = text(&launched, "/status/placement/machineId");
    earns(berth);
    refused::becomes_an_incident(berth, &network, &berth.computer(&machine_id), NODE);

    // The agent asks the first before the second; each comes back by itself.
    berth.kill("signer");
    is_final(berth, &network, FINAL / 2);
    berth.kill("signer-2");
    berth.kill("signer");
    is_final(berth, &network, FINAL);
    earns(berth);

    no_key_is_on(&berth.computer(&machine_id), &network);
    exit::of_one(berth, &network);
    nothing_is_slashable(berth);
    retire(berth, NODE, &launched, &machine_id);
}

fn launch(berth: &Berth, network: &Devnet) -> Value {
    let keys = network.keys.display().to_string();
    let password = network.keys.join("password.txt").display().to_string();
    let wish = [
        "node",
        "launch",
        "--chain",
        "ethereum-devnet",
        "--role",
        "validator",
        "--name",
        NODE,
        "--max-price",
        "1.00",
        "--fee-recipient",
        FEES,
        "--keys",
        &keys,
        "--password-file",
        &password,
        "--fresh",
        "--wait",
    ];
    let launched = berth.run(&wish)["node"].take();
    let validators = launched["spec"]["validators"].as_array();
    assert_eq!(validators.map(Vec::len), Some(usize::from(LEASED)));
    launched
}

/// The chain says that the validators do their duty.
fn earns(berth: &Berth) {
    eventually("the validators earn", EARNS, || {
        let duty = berth.ask(&["health", NODE]).json["health"]["duty"].take();
        if duty["state"] == "STATE_EARNING" && duty["done"] != Value::Null {
            Ok(())
        } else {
            Err(duty.to_string())
        }
    });
}

/// Waits until an epoch of the network is final.
fn is_final(berth: &Berth, network: &Devnet, epoch: u64) {
    let machine = berth.rig().machine("ethereum-devnet").unwrap();
    let url = format!(
        "{}/eth/v1/beacon/states/head/finality_checkpoints",
        network.rpc
    );
    eventually(&format!("epoch {epoch} is final"), EARNS, || {
        let output = machine.exec(&["curl", "--silent", "--max-time", "5", &url]);
        let answer = output.unwrap().stdout;
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        let epochs = &answer["data"]["finalized"]["epoch"];
        let reached = epochs.as_str().and_then(|epochs| epochs.parse().ok());
        if reached >= Some(epoch) {
            Ok(())
        } else {
            Err(answer.to_string())
        }
    });
}

/// Neither its disk nor the memory of a process of it holds a key.
fn no_key_is_on(machine: &Machine, network: &Devnet) {
    let secrets = fs::read_to_string(network.keys.join("secrets.txt")).unwrap();
    assert_eq!(secrets.lines().count(), usize::from(LEASED));
    let searched = machine.search(&secrets).unwrap();
    assert!(searched.files > 0 && searched.memory > 0, "{searched:?}");
    assert!(searched.found.is_empty(), "{searched:?}");
}

/// Each validator signed, and no two of its messages contradict each other.
fn nothing_is_slashable(berth: &Berth) {
    let listed = berth.run(&["key", "list"]);
    let listed = listed["validators"].as_array().expect("validators");
    let keys: Vec<String> = listed.iter().map(|one| text(one, "/publicKey")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    berth.run(&[&["key", "disable"], &keys[..]].concat());
    let file = berth.dir().join("signed.json");
    let out = format!("--out={}", file.display());
    berth.run(&[&["key", "export-protection", &out], &keys[..]].concat());
    let signed: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let signed = signed["data"].as_array().expect("data");
    assert_eq!(signed.len(), usize::from(LEASED));
    for one in signed {
        let numbers = |list: &str, field: &str| -> Vec<u64> {
            let list = one[list].as_array().expect("a list");
            let field = format!("/{field}");
            list.iter()
                .map(|message| text(message, &field).parse().unwrap())
                .collect()
        };
        let (sources, targets) = (
            numbers("signed_attestations", "source_epoch"),
            numbers("signed_attestations", "target_epoch"),
        );
        assert!(targets.len() > 2, "{one}");
        let mut votes: Vec<_> = targets.into_iter().zip(sources).collect();
        votes.sort_unstable();
        for pair in votes.windows(2) {
            assert!(pair[0].0 < pair[1].0, "a double vote: {one}");
            assert!(pair[0].1 <= pair[1].1, "a surrounding vote: {one}");
        }
        let mut slots = numbers("signed_blocks", "slot");
        slots.sort_unstable();
        assert!(slots.is_sorted_by(|a, b| a < b), "a double proposal: {one}");
    }
}
