//! Keys as their owner brings, uses and takes them: through the real client,
//! gateway, signer and Vault, without a network that they sign for.

use berth_tests::Berth;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const CHAIN: &str = "signchain";
const PASSWORD: &str = "correct horse äbattery";
const SECRETS: [&str; 2] = [
    "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
    "263dbd792f5b1be47ed85f8938c0f29586af0d3ac7b977f21c278fe1462040e3",
];
/// The key of the first secret.
const FIRST: &str = "0x9612d7a727c9d0a22e185a1c768478dfe919cada9266988cb32359c11f2b7b27\
                     f4ae4040902382ae2910c15e2b420d07";
const OWNER: &str = "0x52908400098527886E0F7030069857D2E4169EE7";

/// A network whose validators the signer serves.
const ENTRY: &str = r#"
schema = 1
name = "signchain"
display_name = "Chain of keys"
chain_id = "7"
version = "1"
custody = "remote-signer"
licence = "none"

[[components]]
name = "client"
roles = ["validator"]
image = { repository = "berth/test", tag = "1", digest = "sha256:1111111111111111111111111111111111111111111111111111111111111111" }
command = ["--signer", "{signer.url}", "--fees", "{settings.fee_recipient}"]
user = "10001:10001"
memory = "64MiB"
cpu_millis = 100

[requirements.validator]
cpu_cores = 1
memory = "64MiB"

[[ports]]
name = "status"
component = "client"
number = 8080
purpose = "rpc"
exposure = "private"

[[probes]]
kind = "http-json"
name = "status"
url = "http://client:8080/status"
liveness = true
values = [{ metric = "berth.node.height", pointer = "/height" }]

[settings.fee_recipient]
type = "text"
help = "Who gets the fees of blocks"
pattern = "0x[0-9a-f]{40}"

[pinned]
genesis_validators_root = "0x0101010101010101010101010101010101010101010101010101010101010101"
genesis_time = "1700000000"
seconds_per_slot = "12"
preset = "minimal"
forks = "phase0 0 0x00000001, altair 0 0x01000001, bellatrix 0 0x02000001, capella 0 0x03000001"
"#;

/// The files of the owner.
struct Owner(PathBuf);

impl Owner {
    fn new(berth: &Berth) -> Self {
        let owner = Self(berth.dir().join("owner"));
        fs::create_dir_all(owner.0.join("keys")).unwrap();
        owner.write("chain.toml", ENTRY);
        owner.write("password", &format!("{PASSWORD}\n"));
        owner.write("keys/deposit_data-1.json", "[]");
        owner.write("keys/a.json", &keystore(0).to_string());
        let mut other = keystore(1);
        owner.write("keys/c.json", &other.to_string());
        // As one with another password.
        other["crypto"]["checksum"]["message"] = json!("00".repeat(32));
        owner.write("keys/b.json", &other.to_string());
        owner.write("past.json", &interchange(1, "10"));
        owner.write("later.json", &interchange(1, "99"));
        owner.write("foreign.json", &interchange(2, "99"));
        owner
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }

    /// A file of the owner, as it is typed.
    fn at(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

/// A keystore that opens quickly.
fn keystore(of: usize) -> Value {
    let (iv, message, checksum) = [
        (
            "a0",
            "e6f16ed3d1ca3cf1f5d36d47581d0af3d3862daae084476952563cb1d74f11bb",
            "4ff48bc2b0ae86060d79c8175b561d42d602eff0e9430edf48243cd55166f413",
        ),
        (
            "a1",
            "f8091e5210cf91adee3e2ea6188ce4bea63322889ae24b08c93f827db70d5539",
            "601d91a093a21d08587288b2960968259dc4ea4749928459aff9e7a3b81dee8a",
        ),
    ][of];
    let salt = "5a".repeat(32);
    let mut keystore = json!({
        "crypto": {
            "kdf": {
                "function": "pbkdf2",
                "params": { "dklen": 32, "c": 16, "prf": "hmac-sha256", "salt": salt },
                "message": "",
            },
            "checksum": { "function": "sha256", "params": {}, "message": checksum },
            "cipher": {
                "function": "aes-128-ctr",
                "params": { "iv": iv.repeat(16) },
                "message": message,
            },
        },
        "path": "",
        "uuid": "1d85ae20-35c5-4611-98e8-aa14a633906f",
        "version": 4,
    });
    if of == 0 {
        keystore["pubkey"] = json!(FIRST.trim_start_matches("0x"));
    }
    keystore
}

/// What the first key signed, on the network with this genesis.
fn interchange(genesis: u8, slot: &str) -> String {
    let root = format!("0x{}", format!("{genesis:02x}").repeat(32));
    json!({
        "metadata": { "interchange_format_version": "5", "genesis_validators_root": root },
        "data": [{
            "pubkey": FIRST,
            "signed_blocks": [{ "slot": slot }, { "slot": "3" }],
            "signed_attestations": [{ "source_epoch": "1", "target_epoch": "2" }],
        }],
    })
    .to_string()
}

/// The whole story.
pub(crate) fn come_and_go(berth: &Berth) {
    let owner = Owner::new(berth);
    let images = owner.at("no-images");
    let entry = owner.at("chain.toml");
    berth.run(&["chain", "register", &entry, "--images", &images]);
    let second = are_brought(berth, &owner);
    are_released_and_stopped(berth, &owner, &second);
    know_what_was_signed_elsewhere(berth, &owner);
    are_made(berth, &owner);
    are_checked_before_a_launch(berth, &owner, &second);
    end_only_when_confirmed(berth, &second);
    stand_nowhere(berth.dir());
}

#[track_caller]
fn state(berth: &Berth, key: &str) -> String {
    let shown = berth.run(&["validator", "show", key]);
    let state = shown.pointer("/validator/status/state");
    state.and_then(Value::as_str).expect("a state").to_owned()
}

#[track_caller]
fn last_block(berth: &Berth, key: &str) -> Value {
    berth.run(&["validator", "show", key])["validator"]["status"]["watermarks"]["blockSlot"].take()
}

/// What each keystore became, without those that were not taken.
fn taken(answer: &Value) -> Vec<(&str, &str)> {
    let keys = answer["keys"].as_array().expect("keys");
    keys.iter()
        .map(|key| {
            let text = |name: &str| key[name].as_str().unwrap_or_default();
            (text("outcome"), text("publicKey"))
        })
        .collect()
}

/// Returns the public key of the second.
fn are_brought(berth: &Berth, owner: &Owner) -> String {
    let (keys, password, past) = (
        owner.at("keys"),
        owner.at("password"),
        owner.at("past.json"),
    );
    let words = [
        "key",
        "import",
        &keys,
        "--password-file",
        &password,
        "--chain",
        CHAIN,
        "--protection",
        &past,
        "--fee-recipient",
        OWNER,
    ];
    let shown = berth.print(&[&words[..], &["--dry-run"]].concat());
    assert!(shown.contains("a.json") && shown.contains(FIRST), "{shown}");
    assert_eq!(berth.run(&["key", "list"])["validators"], Value::Null);

    let brought = berth.ask(&words);
    assert_eq!(brought.code, Some(1), "one was refused: {}", brought.said);
    assert!(
        brought.said.contains("1 of 3 keystores were refused"),
        "{}",
        brought.said
    );
    assert!(
        brought.said.contains("deposit_data-1.json"),
        "{}",
        brought.said
    );
    let outcomes = taken(&brought.json);
    let (imported, refused) = ("OUTCOME_IMPORTED", "OUTCOME_REFUSED");
    assert_eq!(outcomes[0], (imported, FIRST));
    assert_eq!(outcomes[1].0, refused, "{}", brought.json);
    assert_eq!(outcomes[2].0, imported, "{}", brought.json);
    let problem = brought.json["keys"][1]["problem"].as_str();
    assert!(
        problem.is_some_and(|why| why.contains("password")),
        "{problem:?}"
    );
    let second = outcomes[2].1.to_owned();

    assert_eq!(state(berth, FIRST), "STATE_ACTIVE");
    assert_eq!(
        state(berth, &second),
        "STATE_QUARANTINED",
        "nobody knows its past"
    );
    assert_eq!(last_block(berth, FIRST), "10");
    let again = berth.ask(&words);
    let again: Vec<_> = taken(&again.json)
        .into_iter()
        .map(|(outcome, _)| outcome.to_owned())
        .collect();
    assert_eq!(again, ["OUTCOME_DUPLICATE", refused, "OUTCOME_DUPLICATE"]);
    second
}

fn are_released_and_stopped(berth: &Berth, owner: &Owner, second: &str) {
    let refused = berth.ask(&["key", "enable", second]);
    assert_eq!(refused.code, Some(5), "{}", refused.said);
    assert_eq!(state(berth, second), "STATE_QUARANTINED");
    // However it is typed.
    let typed = second.trim_start_matches("0x").to_uppercase();
    berth.run(&["key", "enable", &typed, "--fresh"]);
    assert_eq!(state(berth, second), "STATE_ACTIVE");

    let out = owner.at("out.json");
    let export = ["key", "export-protection", FIRST, "--out", &out];
    let early = berth.ask(&export);
    assert_eq!(early.code, Some(5), "it may still sign: {}", early.said);
    assert!(!Path::new(&out).exists());
    berth.run(&["key", "disable", FIRST]);
    assert_eq!(state(berth, FIRST), "STATE_DISABLED");
    berth.print(&export);
    let file: Value = serde_json::from_slice(&fs::read(&out).unwrap()).unwrap();
    assert_eq!(file["data"][0]["pubkey"], FIRST);
    assert_eq!(file["data"][0]["signed_blocks"][0]["slot"], "10");
    let again = berth.ask(&export);
    assert_eq!(again.code, Some(1), "what is there is not overwritten");
    let printed = berth.print(&["key", "export-protection", "--minified"]);
    let printed: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(printed["data"][0]["pubkey"], FIRST);
}

fn know_what_was_signed_elsewhere(berth: &Berth, owner: &Owner) {
    let import = |file: &str| {
        berth.ask(&[
            "key",
            "import-protection",
            &owner.at(file),
            "--chain",
            CHAIN,
        ])
    };
    let later = import("later.json");
    assert_eq!(later.json["validators"], 1, "{}", later.said);
    assert_eq!(last_block(berth, FIRST), "99");
    assert_eq!(import("past.json").code, Some(0));
    assert_eq!(last_block(berth, FIRST), "99", "it never goes down");
    let foreign = import("foreign.json");
    assert_eq!(foreign.code, Some(2), "{}", foreign.said);
    assert!(
        foreign.said.contains("genesis_validators_root"),
        "{}",
        foreign.said
    );
    // Nothing was read of what it voted for since it was exported.
    let refused = berth.ask(&["key", "enable", FIRST]);
    assert_eq!(refused.code, Some(5), "{}", refused.said);
    assert!(refused.said.contains("--fresh"), "{}", refused.said);
    berth.run(&["key", "enable", FIRST, "--fresh"]);
}

fn are_made(berth: &Berth, owner: &Owner) {
    let file = owner.at("deposits.json");
    let words = [
        "key",
        "generate",
        "--chain",
        CHAIN,
        "--count",
        "2",
        "--withdrawal-address",
        OWNER,
        "--fee-recipient",
        OWNER,
        "--deposit-data",
        &file,
    ];
    let made = berth.run(&words);
    let deposits: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let credentials = format!("010000000000000000000000{}", &OWNER[2..].to_lowercase());
    for at in 0..2 {
        let key = made["validators"][at]["publicKey"].as_str().expect("a key");
        assert_eq!(state(berth, key), "STATE_ACTIVE");
        let named = |one: &&Value| {
            one["pubkey"]
                .as_str()
                .is_some_and(|pubkey| key.ends_with(pubkey))
        };
        let deposit = deposits.as_array().and_then(|all| all.iter().find(named));
        let deposit = deposit.unwrap_or_else(|| panic!("no {key} in {deposits}"));
        assert_eq!(deposit["withdrawal_credentials"], credentials);
    }
    assert_eq!(
        berth.ask(&words).code,
        Some(1),
        "its deposit data would be overwritten"
    );
    let all = berth.run(&["key", "list"]);
    assert_eq!(all["validators"].as_array().map(Vec::len), Some(4));
}

fn are_checked_before_a_launch(berth: &Berth, owner: &Owner, second: &str) {
    let (keys, password) = (owner.at("keys"), owner.at("password"));
    let wish = [
        "node",
        "launch",
        "--chain",
        CHAIN,
        "--role",
        "validator",
        "--name",
        "v1",
        "--max-price",
        "1.00",
        "--fee-recipient",
        OWNER,
    ];
    let with = |more: &[&str]| berth.ask(&[&wish[..], more].concat());
    let dry = with(&["--validator", FIRST, second, "--dry-run"]);
    assert_eq!(dry.code, Some(0), "{}", dry.said);
    let spec = &dry.json["node"]["spec"];
    assert_eq!(
        spec["validators"].as_array().map(Vec::len),
        Some(2),
        "{spec}"
    );
    assert_eq!(spec["settings"]["fee_recipient"], OWNER.to_lowercase());
    let dry = with(&["--keys", &keys, "--password-file", &password, "--dry-run"]);
    assert_eq!(dry.code, Some(0), "{}", dry.said);
    assert!(dry.said.contains("Would seal and send"), "{}", dry.said);
    let nobody = format!("0x{}", "ab".repeat(48));
    let unknown = with(&["--validator", &nobody]);
    assert_eq!(unknown.code, Some(2), "{}", unknown.said);
    assert!(
        unknown.said.contains("is not with the signer"),
        "{}",
        unknown.said
    );
    // Found before a keystore is sent.
    let wrong = with(&[
        "--keys",
        &keys,
        "--password-file",
        &password,
        "--set",
        "moon=1",
    ]);
    assert_eq!(wrong.code, Some(2), "{}", wrong.said);
    assert!(wrong.said.contains("moon"), "{}", wrong.said);
    assert_eq!(berth.run(&["node", "list"])["nodes"], Value::Null);
}

fn end_only_when_confirmed(berth: &Berth, second: &str) {
    let exit = ["validator", "exit", second, "--index", "42"];
    let with = |more: &[&str]| berth.ask(&[&exit[..], more].concat());
    let silent = with(&[]);
    assert_eq!(silent.code, Some(2), "{}", silent.said);
    assert!(
        silent.said.contains("cannot be taken back"),
        "{}",
        silent.said
    );
    assert!(silent.said.contains("--confirm"), "{}", silent.said);
    let other = with(&["--confirm", FIRST]);
    assert_eq!(
        (other.code, other.json),
        (Some(1), Value::Null),
        "{}",
        other.said
    );
    let ahead = with(&["--confirm", second, "--epoch", "18446744073709551615"]);
    assert_eq!(
        (ahead.code, ahead.json),
        (Some(1), Value::Null),
        "{}",
        ahead.said
    );
    // No node of the account could hand it in.
    let unsent = with(&["--confirm", second]);
    assert_eq!(unsent.code, Some(5), "{}", unsent.said);
    let signed = with(&["--confirm", second, "--no-broadcast"]);
    assert_eq!(signed.code, Some(0), "{}", signed.said);
    let exit = signed.json["signedExit"].as_str().expect("an exit");
    let exit: Value = serde_json::from_str(exit).unwrap();
    assert_eq!(exit["message"]["validator_index"], "42", "{exit}");
    assert_eq!(
        exit["signature"].as_str().map(str::len),
        Some(2 + 192),
        "{exit}"
    );
}

/// Neither password nor key is in a log or in what the client printed.
fn stand_nowhere(dir: &Path) {
    let logs = fs::read_dir(dir.join("logs")).unwrap();
    let logs = logs.map(|entry| entry.unwrap().path());
    for path in logs.chain([dir.join("client.log"), dir.join("dev.log")]) {
        let text = fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).to_lowercase();
        for secret in SECRETS.into_iter().chain([PASSWORD]) {
            assert!(!text.contains(secret), "a secret is in {}", path.display());
        }
    }
}
