//! Keys that come without their past to a real network of Ethereum: a beacon
//! node beside Berth is asked for them, and only what it shows lets them sign.

use crate::story::text;
use berth_rig::devnet::{Devnet, Network};
use berth_tests::{Berth, eventually};
use serde_json::{Value, json};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::time::Duration;

const NODE: &str = "observed";
const LEASED: u8 = 2;
const FEES: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
/// Four epochs of sixteen seconds, on a busy computer.
const SEEN: Duration = Duration::from_mins(6);
/// The first validator of the network itself; the whole world knows its key.
const LIVE: &str = "0xa99a76ed7796f7be22d5b7e85deeb7c5677e88e511e0b337618f8c4eb61349b4\
                    bf2d153f649f7b53359fe8b94a38e44c";

/// From quarantine to what the chain says of it.
pub(crate) fn sign_when_silent(berth: &Berth) {
    let network = berth.register(Network::Ethereum { leased: LEASED });
    import_live(berth);
    launch(berth, &network);
    for key in keys(berth) {
        assert_eq!(text(&key, "/status/state"), "STATE_QUARANTINED");
        let why = text(&key, "/status/statusReason");
        assert!(why.contains("no observer"), "{why}");
    }
    observe(berth, &network);
    eventually("silent keys are released", SEEN, || {
        let keys = keys(berth);
        let released = keys.iter().filter(|key| {
            text(key, "/status/state") == "STATE_ACTIVE"
                && text(key, "/status/statusReason").contains("nothing of it was seen")
        });
        if released.count() == usize::from(LEASED) {
            Ok(())
        } else {
            Err(format!("{keys:?}"))
        }
    });
    berth.note("silent keys are released");
    eventually("they earn, and their balance is seen", SEEN, || {
        let duty = berth.ask(&["health", NODE]).json["health"]["duty"].take();
        let balance = duty["balanceGwei"].as_str().unwrap_or_default();
        if duty["state"] == "STATE_EARNING" && balance.len() == 11 {
            Ok(())
        } else {
            Err(duty.to_string())
        }
    });
    berth.note("they earn");
    let live = keys(berth);
    let live = live.iter().find(|key| key["publicKey"] == LIVE).unwrap();
    assert_eq!(text(live, "/status/state"), "STATE_QUARANTINED");
    let why = text(live, "/status/statusReason");
    assert!(why.starts_with("active elsewhere"), "{why}");
    assert_eq!(live["status"]["watermarks"], json!({}), "it never signed");
}

fn keys(berth: &Berth) -> Vec<Value> {
    let listed = berth.run(&["key", "list"])["validators"].take();
    listed.as_array().cloned().unwrap_or_default()
}

/// Brings a key that is in use elsewhere.
fn import_live(berth: &Berth) {
    let keystore = json!({
        "crypto": {
            "kdf": {
                "function": "pbkdf2",
                "params": { "dklen": 32, "c": 16, "prf": "hmac-sha256", "salt": "5a".repeat(32) },
                "message": "",
            },
            "checksum": {
                "function": "sha256",
                "params": {},
                "message": "b4044ff73d1ff65c5aef2f4e506fe1178a647528b6837af88ac9b3f18567f386",
            },
            "cipher": {
                "function": "aes-128-ctr",
                "params": { "iv": "a0".repeat(16) },
                "message": "eb5e4273a3f57afbe0dc50fc3ee31639fba080df3d558fb7d6b864522bb3244c",
            },
        },
        "path": "",
        "pubkey": LIVE.trim_start_matches("0x"),
        "uuid": "1d85ae20-35c5-4611-98e8-aa14a633906f",
        "version": 4,
    });
    let (file, password) = (berth.dir().join("live.json"), berth.dir().join("live.txt"));
    fs::write(&file, keystore.to_string()).unwrap();
    fs::write(&password, "interop").unwrap();
    berth.run(&[
        "key",
        "import",
        &file.display().to_string(),
        "--password-file",
        &password.display().to_string(),
        "--chain",
        "ethereum-devnet",
    ]);
}

/// Without a word of what they signed before.
fn launch(berth: &Berth, network: &Devnet) {
    let keys = network.keys.display().to_string();
    let password = network.keys.join("password.txt").display().to_string();
    let wish = "node launch --chain ethereum-devnet --role validator --max-price 1.00 --wait";
    let more = [
        "--name",
        NODE,
        "--fee-recipient",
        FEES,
        "--keys",
        &keys,
        "--password-file",
        &password,
    ];
    berth.run(&[&wish.split(' ').collect::<Vec<_>>()[..], &more].concat());
}

/// Has monitoring look through the network's own beacon node, as an operator
/// does: a line more in its configuration, and a restart.
fn observe(berth: &Berth, network: &Devnet) {
    let config = berth.dir().join("berth.toml");
    let mut config = OpenOptions::new().append(true).open(config).unwrap();
    let url = &network.rpc;
    write!(
        config,
        "\n[[monitoring.observe]]\nchain = \"ethereum-devnet\"\nurls = [\"{url}\"]\n"
    )
    .unwrap();
    berth.kill("monitoring");
}
