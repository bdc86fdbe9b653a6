//! A real CometBFT network on one more machine of a rig, for nodes to follow: its validators run in containers and
//! come back after a power cut. The machine is not for enrolling.
//!
//! Keys are made on that machine when the network is made, and stay there. A network that exists is kept as it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::Context;
use crate::{Error, Machine, Result, Rig, images, shell};

/// The name of the machine that the validators share.
pub const MACHINE: &str = "network";
/// The id on the chain. Its shape, with a number at the end, is what injectived asks for.
pub const CHAIN_ID: &str = "injective-777";
/// The image's name in the machine's engine.
const IMAGE: &str = "berth/cosmos-devnet";
/// Where the network lives on the machine.
const HOME: &str = "/var/lib/devnet";

/// What a network is made of.
#[derive(Clone, Debug)]
pub struct DevnetConfig {
    /// How many validators. With up to three, all must run; with four, one may be away.
    pub validators: u8,
    /// The OCI layout of the image `cosmos-devnet`.
    pub image: PathBuf,
    /// Where `genesis.json` and `peers` are written.
    pub out: PathBuf,
}

/// A network that makes blocks.
#[derive(Clone, Debug)]
pub struct Devnet {
    /// The id on the chain.
    pub chain_id: String,
    /// The genesis file.
    pub genesis: Vec<u8>,
    /// The file that holds it.
    pub genesis_path: PathBuf,
    /// The validators as peers, `id@address:port`. They share one address.
    pub peers: Vec<String>,
    /// The RPC of the first validator, as seen from the fabric and the machines: `http://address:port`.
    pub rpc: String,
}

/// Sees to it that the network exists and makes blocks.
pub fn up(rig: &Rig, config: &DevnetConfig) -> Result<Devnet> {
    let machine = rig.add(MACHINE)?;
    if machine
        .exec(&["test", "-e", &format!("{HOME}/made")])?
        .status
        .success()
    {
        start(&machine)?;
    } else {
        images::load(&machine, &config.image)?;
        make(&machine, config.validators)?;
    }
    let mut before = None; // a height that is only read from disk is no sign of life
    shell::wait_until(
        "a new block of the network",
        Duration::from_secs(120),
        || {
            let now = height(&machine)?.filter(|height| *height >= 3);
            before = before.or(now);
            Ok(now > before)
        },
    )?;
    describe(&machine, &config.out)
}

/// Makes keys and genesis, then the containers.
fn make(machine: &Machine, validators: u8) -> Result<()> {
    let count = validators.to_string();
    let prepare = format!(
        "rm -rf {HOME} && mkdir -p {HOME} && chown 10001:10001 {HOME} && cat >{HOME}/genesis.sh"
    );
    let mut write = machine.command("sh")?;
    let mut echo = shell::command("echo");
    shell::pipe(
        echo.arg(include_str!("files/genesis.sh")),
        write.args(["-c", &prepare]),
    )?;
    let volume = format!("{HOME}:/net");
    machine.run(&[
        "docker",
        "run",
        "--rm",
        "--network",
        "none",
        "--volume",
        &volume,
        "--entrypoint",
        "sh",
        IMAGE,
        "/net/genesis.sh",
        CHAIN_ID,
        &count,
    ])?;
    machine.run(&[
        "sh",
        "-c",
        "docker rm --force $(docker ps --all --quiet) >/dev/null 2>&1 || true",
    ])?;
    machine.run(&[
        "sh",
        "-c",
        "docker network inspect devnet >/dev/null 2>&1 || docker network create devnet",
    ])?;
    for index in 1..=validators {
        run_validator(machine, index)?;
    }
    machine.run(&["touch", &format!("{HOME}/made")]).map(drop)
}

fn run_validator(machine: &Machine, index: u8) -> Result<()> {
    let name = format!("v{index}");
    let volume = format!("{HOME}/{name}:/data");
    let (peer, rpc) = (
        format!("{}:26656", peer_port(index)),
        format!("{}:26657", peer_port(index) + 1),
    );
    let place = [
        "docker",
        "run",
        "--detach",
        "--name",
        &name,
        "--hostname",
        &name,
        "--network",
        "devnet",
    ];
    let life = [
        "--restart",
        "unless-stopped",
        "--log-opt",
        "max-size=5m",
        "--volume",
        &volume,
    ];
    let ports = ["--publish", &peer, "--publish", &rpc, IMAGE];
    let node = [
        "start",
        "--home",
        "/data",
        "--chain-id",
        CHAIN_ID,
        "--log-level",
        "error",
    ];
    let off = [
        "--api.enable=false",
        "--grpc.enable=false",
        "--json-rpc.enable=false",
    ];
    machine
        .run(&[&place[..], &life, &ports, &node, &off].concat())
        .map(drop)
}

/// Starts containers that somebody stopped.
fn start(machine: &Machine) -> Result<()> {
    machine
        .run(&["sh", "-c", "docker start $(docker ps --all --quiet)"])
        .map(drop)
}

/// The port on the machine that leads to a validator's P2P port; the next one leads to its RPC.
fn peer_port(index: u8) -> u16 {
    26646 + 10 * u16::from(index)
}

/// The height of the first validator, once it answers.
fn height(machine: &Machine) -> Result<Option<u64>> {
    let output = machine.exec(&[
        "docker",
        "exec",
        "v1",
        "injectived",
        "status",
        "--home",
        "/data",
    ])?;
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    Ok(status["sync_info"]["latest_block_height"]
        .as_str()
        .and_then(|height| height.parse().ok()))
}

/// Reads from the machine what a node needs to join, and writes it to files.
fn describe(machine: &Machine, out: &Path) -> Result<Devnet> {
    let genesis = machine
        .run(&["cat", &format!("{HOME}/v1/config/genesis.json")])?
        .into_bytes();
    let address = machine.address().ip();
    let mut peers = Vec::new();
    let ids = machine.run(&["sh", "-c", &format!("cat {HOME}/v?/node-id")])?;
    for (id, index) in ids.lines().zip(1..) {
        peers.push(format!("{id}@{address}:{}", peer_port(index)));
    }
    if peers.is_empty() {
        return Err(Error::Malformed {
            what: "the network".into(),
            problem: "it has no validators".into(),
        });
    }
    fs::create_dir_all(out).during(|| format!("create {}", out.display()))?;
    let genesis_path = out.join("genesis.json");
    shell::write(&genesis_path, &genesis)?;
    shell::write(&out.join("peers"), peers.join(","))?;
    let rpc = format!("http://{address}:{}", peer_port(1) + 1);
    Ok(Devnet {
        chain_id: CHAIN_ID.into(),
        genesis,
        genesis_path,
        peers,
        rpc,
    })
}
