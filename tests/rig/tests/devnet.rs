//! The networks, and a node that follows one under the restrictions of a leased machine.
//! The images are built before (`make images`).

use std::path::Path;
use std::time::{Duration, Instant};

use berth_rig::devnet::{self, Devnet, DevnetConfig, Network};
use berth_rig::{Machine, TemporaryRig, images};

const HARDENED: &str = "docker run --detach --name node --read-only --user 10001:10001 --cap-drop ALL \
    --security-opt no-new-privileges --memory 2g --pids-limit 512 --volume data:/data \
    --mount type=bind,src=/run/node/config,dst=/data/config,readonly \
    --mount type=bind,src=/run/node/secrets,dst=/run/secrets,readonly \
    berth/cosmos-devnet start --home /data --chain-id injective-777";

fn config(network: Network, out: &Path) -> DevnetConfig {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    DevnetConfig {
        network,
        images: repository.join("target/images"),
        catalogue: repository.join("images"),
        out: out.into(),
    }
}

/// The height that the node in a container has reached.
fn height(machine: &Machine, container: &str) -> Option<u64> {
    let ask = [
        "injectived",
        "status",
        "--home",
        "/data",
        "--node",
        "tcp://127.0.0.1:26657",
    ];
    let status = machine
        .run(&[&["docker", "exec", container][..], &ask].concat())
        .ok()?;
    let status: serde_json::Value = serde_json::from_str(&status).ok()?;
    status["sync_info"]["latest_block_height"]
        .as_str()?
        .parse()
        .ok()
}

/// Prepares and starts a full node that keeps its keys where the catalogue's entry keeps them.
fn start_node(machine: &Machine, devnet: &Devnet) -> berth_rig::Result<String> {
    let config = format!(
        r#"node_key_file = "/run/secrets/node_key.json"
priv_validator_key_file = "data/priv_validator_key.json"
[p2p]
persistent_peers = "{}"
addr_book_file = "data/addrbook.json"
addr_book_strict = false
allow_duplicate_ip = true
"#,
        devnet.peers.join(",")
    );
    let files = "set -e; mkdir -p /run/node/config /run/node/secrets; cd /run/node/config
        printf '%s' \"$1\" >config.toml; printf '%s' \"$2\" >genesis.json
        printf 'minimum-gas-prices = \"160000000inj\"\\n' >app.toml
        printf 'chain-id = \"injective-777\"\\nkeyring-backend = \"test\"\\n' >client.toml
        docker run --rm --network none --volume /run/node/key:/key --user 0 --entrypoint sh berth/cosmos-devnet -c \
          'injectived init key --home /tmp/key >/dev/null 2>&1; cp /tmp/key/config/node_key.json /key'
        mv /run/node/key/node_key.json /run/node/secrets; chown 10001 /run/node/secrets/node_key.json";
    machine.run(&[
        "sh",
        "-c",
        files,
        "files",
        &config,
        &String::from_utf8_lossy(&devnet.genesis),
    ])?;
    machine.run(&["sh", "-c", HARDENED])
}

#[test]
fn a_hardened_full_node_follows_the_network_through_a_power_cut() {
    let rig = TemporaryRig::open().unwrap();
    let out = tempfile::tempdir().unwrap();
    let config = config(Network::Cosmos { validators: 2 }, out.path());
    let devnet = devnet::up(&rig, &config).unwrap();
    assert_eq!(devnet.peers.len(), 2);
    assert_eq!(std::fs::read(&devnet.genesis_path).unwrap(), devnet.genesis);

    let machine = rig.add("m1").unwrap();
    images::load(&machine, &config.images.join("cosmos-devnet")).unwrap();
    start_node(&machine, &devnet).unwrap();
    let follows = |height_of_network: u64| {
        let patience = Instant::now() + Duration::from_secs(120);
        while height(&machine, "node").is_none_or(|height| height < height_of_network) {
            let log = || machine.exec(&["docker", "logs", "--tail", "20", "node"]);
            assert!(
                Instant::now() < patience,
                "the node did not follow: {:?}",
                log()
            );
        }
    };
    let network = rig.machine("cosmos-devnet").unwrap();
    follows(height(&network, "v1").unwrap());

    network.kill().unwrap();
    let again = devnet::up(&rig, &config).unwrap();
    assert_eq!(again.peers, devnet.peers);
    assert_eq!(again.genesis, devnet.genesis);
    follows(height(&network, "v1").unwrap());
}

#[test]
fn the_ethereum_network_makes_blocks_and_knows_the_leased_validators() {
    let rig = TemporaryRig::open().unwrap();
    let out = tempfile::tempdir().unwrap();
    let config = config(Network::Ethereum { leased: 2 }, out.path());
    let devnet = devnet::up(&rig, &config).unwrap();
    assert!(devnet.peers[0].starts_with("enr:"), "{:?}", devnet.peers);
    assert_eq!(std::fs::read(&devnet.genesis_path).unwrap(), devnet.genesis);

    let network = rig.machine("ethereum-devnet").unwrap();
    let ask = |what: &str| -> serde_json::Value {
        let url = format!("{}/eth/v1/beacon/{what}", devnet.rpc);
        let answer = network.run(&["curl", "--silent", "--fail", &url]).unwrap();
        serde_json::from_str(&answer).unwrap()
    };
    let genesis = ask("genesis")["data"].take();
    let entry = std::fs::read_to_string(&devnet.entry).unwrap();
    for name in ["genesis_time", "genesis_validators_root"] {
        let line = format!("\n{name} = {}\n", genesis[name]);
        assert!(entry.contains(&line), "no {line} in {entry}");
    }
    for index in 0..2 {
        let keystore = devnet.keys.join(format!("keystore-{index}.json"));
        let keystore = std::fs::read_to_string(keystore).unwrap();
        let keystore: serde_json::Value = serde_json::from_str(&keystore).unwrap();
        let key = keystore["pubkey"].as_str().unwrap();
        let validator = ask(&format!("states/head/validators/0x{key}"));
        assert_eq!(validator["data"]["status"], "active_ongoing");
    }
    let keys = network.exec(&["find", "/var/lib/devnet", "-name", "keystore-*"]);
    assert_eq!(keys.unwrap().stdout, b"", "the keys left the machine");
}
