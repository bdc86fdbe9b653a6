//! A network of Ethereum: one execution client, one beacon node, and a validator client with the interop keys, which
//! the whole world knows.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::{Devnet, HOME, container, genesis};
use crate::error::Context;
use crate::{Error, Machine, Result, shell};

/// The image's name in the machine's engine.
const IMAGE: &str = "berth/ethereum-devnet";
/// Fewest validators of the network itself.
const VALIDATORS: u16 = 24;
/// From the making of the genesis to its time: until then all of the network runs.
const AHEAD: Duration = Duration::from_secs(25);
/// The port of the beacon node's API.
const REST: u16 = 9596;
/// Who gets the fees of the network's own blocks.
const FEES: &str = "--suggestedFeeRecipient=0x00000000000000000000000000000000000000ff";
/// What beacon node and validator client share.
const COMMON: [&str; 4] = [
    "--network=dev",
    "--paramsFile=/opt/ethereum/config.yaml",
    "--dataDir=/data",
    "--logFile=none",
];

/// Makes the genesis, then the containers.
pub(super) fn make(machine: &Machine, leased: u8) -> Result<()> {
    let own = VALIDATORS.max(3 * u16::from(leased));
    let folders = format!(
        "cd {HOME} && mkdir net execution beacon validator && umask 077 &&
         od -An -vtx1 -N32 /dev/urandom | tr -d ' \\n' >net/jwt.hex && chown -R 10001:10001 ."
    );
    machine.run(&["sh", "-c", &folders])?;
    let start = SystemTime::now() + AHEAD;
    let time = start
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let net = format!("{HOME}/net:/net");
    let (time, count, leased) = (time.to_string(), own.to_string(), leased.to_string());
    machine.run(&[
        "docker",
        "run",
        "--rm",
        "--network",
        "none",
        "--volume",
        &net,
        IMAGE,
        "genesis",
        "/net",
        &time,
        &count,
        &leased,
    ])?;
    execution(machine, &net)?;
    beacon(machine, &net)?;
    let interop = format!("--interopIndexes=0..{}", own - 1);
    let beacon = format!("--beaconNodes=http://beacon:{REST}");
    let program = ["lodestar", "validator", &beacon, &interop, FEES];
    container(
        machine,
        "validator",
        &[IMAGE],
        &[&program[..], &COMMON].concat(),
    )?;
    shell::wait_until(
        "the first slot",
        2 * AHEAD,
        || Ok(SystemTime::now() > start),
    )
}

fn execution(machine: &Machine, net: &str) -> Result<()> {
    let program = [
        "ethereumjs",
        "--gethGenesis=/opt/ethereum/genesis.json",
        "--dataDir=/data",
        "--rpcEngine",
        "--rpcEngineAddr=0.0.0.0",
        "--jwtSecret=/net/jwt.hex",
        "--isSingleNode",
        "--discDns=false",
        "--discV4=false",
        "--no-logFile",
    ];
    container(machine, "execution", &["--volume", net, IMAGE], &program)
}

fn beacon(machine: &Machine, net: &str) -> Result<()> {
    let address = machine.address().ip();
    let (enr, rest) = (format!("--enr.ip={address}"), format!("{REST}:{REST}"));
    let place = [
        "--volume",
        net,
        "--publish",
        "9000:9000",
        "--publish",
        "9000:9000/udp",
        "--publish",
        &rest,
        "--env",
        "IDENTITY=1", // steady.mjs: the same peer after each start
        IMAGE,
    ];
    let port = format!("--rest.port={REST}");
    let program = [
        "lodestar",
        "beacon",
        "--genesisStateFile=/net/genesis.ssz",
        "--eth1=false",
        "--execution.urls=http://execution:8551",
        "--jwt-secret=/net/jwt.hex",
        FEES,
        "--port=9000",
        "--enr.tcp=9000",
        "--enr.udp=9000",
        &enr,
        "--targetPeers=20",
        "--subscribeAllSubnets",
        "--network.allowPublishToZeroPeers",
        "--network.connectToDiscv5Bootnodes",
        "--sync.isSingleNode",
        "--rest",
        "--rest.address=0.0.0.0",
        &port,
    ];
    container(machine, "beacon", &place, &[&program[..], &COMMON].concat())
}

/// The slot of the newest block, once the beacon node answers.
pub(super) fn height(machine: &Machine) -> Result<Option<u64>> {
    let syncing = ask(machine, "node/syncing")?;
    let slot = syncing["head_slot"].as_str();
    Ok(slot.and_then(|slot| slot.parse().ok()))
}

/// What the beacon node answers; null as long as it does not.
fn ask(machine: &Machine, what: &str) -> Result<Value> {
    let url = format!("http://{}:{REST}/eth/v1/{what}", machine.address().ip());
    let output = machine.exec(&["curl", "--silent", "--fail", "--max-time", "5", &url])?;
    let mut answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    Ok(answer["data"].take())
}

/// Reads from the machine what a node needs to join, and writes the entry of this very network.
pub(super) fn describe(machine: &Machine, entry: &Path, out: &Path) -> Result<Devnet> {
    let (genesis, genesis_path) = genesis(machine, &format!("{HOME}/net/genesis.ssz"), out)?;
    take_keys(machine, out)?;
    let identity = ask(machine, "node/identity")?;
    let facts = ask(machine, "beacon/genesis")?;
    let text = |value: &Value, name: &str| {
        let text = value[name].as_str().map(str::to_owned);
        text.ok_or_else(|| Error::Malformed {
            what: "the beacon node".into(),
            problem: format!("it says no {name}"),
        })
    };
    // `[pinned]` is the last table of the entry.
    let mut of_this = fs::read_to_string(entry).during(|| format!("read {}", entry.display()))?;
    for name in ["genesis_time", "genesis_validators_root"] {
        of_this.push_str(&format!("{name} = \"{}\"\n", text(&facts, name)?));
    }
    let entry = out.join("chain.toml");
    shell::write(&entry, of_this)?;
    Ok(Devnet {
        entry,
        genesis,
        genesis_path,
        peers: vec![text(&identity, "enr")?],
        keys: out.join("keys"),
        rpc: format!("http://{}:{REST}", machine.address().ip()),
    })
}

/// Moves the keys of the leased validators away from the machine.
fn take_keys(machine: &Machine, out: &Path) -> Result<()> {
    let keys = format!("{HOME}/net/keys");
    if !machine.exec(&["test", "-e", &keys])?.status.success() {
        return Ok(());
    }
    let mut read = machine.command("tar")?;
    read.args(["-C", &format!("{HOME}/net"), "-c", "keys"]);
    let mut write = shell::command("tar");
    write.args(["--no-same-owner", "-x", "-C"]).arg(
        out.canonicalize()
            .during(|| format!("open {}", out.display()))?,
    );
    shell::pipe(&mut read, &mut write)?;
    machine.run(&["rm", "-r", &keys]).map(drop)
}
