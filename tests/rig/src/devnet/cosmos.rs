//! A network of CometBFT validators.

use std::path::{Path, PathBuf};

use super::{Devnet, HOME, container, genesis};
use crate::{Error, Machine, Result, shell};

/// The id on the chain. Its shape, with a number at the end, is what injectived asks for.
const CHAIN_ID: &str = "injective-777";
/// The image's name in the machine's engine.
const IMAGE: &str = "berth/cosmos-devnet";

/// Makes keys and genesis, then the containers.
pub(super) fn make(machine: &Machine, validators: u8) -> Result<()> {
    let count = validators.to_string();
    let script = format!("{HOME}/genesis.sh");
    let mut write = machine.command("tee")?;
    let mut echo = shell::command("echo");
    shell::pipe(
        echo.arg(include_str!("../files/genesis.sh")),
        write.arg(script),
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
    for index in 1..=validators {
        run_validator(machine, index)?;
    }
    Ok(())
}

fn run_validator(machine: &Machine, index: u8) -> Result<()> {
    let (peer, rpc) = (
        format!("{}:26656", peer_port(index)),
        format!("{}:26657", peer_port(index) + 1),
    );
    let ports = ["--publish", &peer, "--publish", &rpc, IMAGE];
    let node = [
        "start",
        "--home",
        "/data",
        "--chain-id",
        CHAIN_ID,
        "--log-level",
        "error",
        "--api.enable=false",
        "--grpc.enable=false",
        "--json-rpc.enable=false",
    ];
    container(machine, &format!("v{index}"), &ports, &node)
}

/// The port on the machine that leads to a validator's P2P port; the next one leads to its RPC.
fn peer_port(index: u8) -> u16 {
    26646 + 10 * u16::from(index)
}

/// The height of the first validator, once it answers.
pub(super) fn height(machine: &Machine) -> Result<Option<u64>> {
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

/// Reads from the machine what a node needs to join.
pub(super) fn describe(machine: &Machine, entry: PathBuf, out: &Path) -> Result<Devnet> {
    let (genesis, genesis_path) = genesis(machine, &format!("{HOME}/v1/config/genesis.json"), out)?;
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
    Ok(Devnet {
        entry,
        genesis,
        genesis_path,
        peers,
        keys: out.join("keys"), // it has no leased validators
        rpc: format!("http://{address}:{}", peer_port(1) + 1),
    })
}
