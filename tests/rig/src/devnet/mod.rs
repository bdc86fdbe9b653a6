//! Real networks for nodes to follow, each on one more machine of a rig: their validators run in containers and come
//! back after a power cut. That of Ethereum then makes blocks, and no epoch final any more: its one beacon node has
//! lost its newest blocks, and validators do not vote twice. These machines are not for enrolling.
//!
//! Keys are made on the machine when the network is made; those of its own validators stay there. A network that
//! exists is kept as it is.

mod cosmos;
mod ethereum;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::Context;
use crate::{Machine, Result, Rig, images, shell};

/// Where a network lives on its machine.
const HOME: &str = "/var/lib/devnet";

/// Which network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// CometBFT. With up to three validators, all must run; with four, one may be away.
    Cosmos {
        /// How many validators.
        validators: u8,
    },
    /// Ethereum with slots of two seconds.
    Ethereum {
        /// How many validators the genesis knows besides the network's own, for others to run. The network has three
        /// of its own for each of them, so it goes on when they do not.
        leased: u8,
    },
}

impl Network {
    /// The name of the chain in the catalogue, of its image, and of the machine that the network runs on.
    pub fn chain(&self) -> &'static str {
        match self {
            Self::Cosmos { .. } => "cosmos-devnet",
            Self::Ethereum { .. } => "ethereum-devnet",
        }
    }
}

/// What a network is made of.
#[derive(Clone, Debug)]
pub struct DevnetConfig {
    /// Which network.
    pub network: Network,
    /// The folder of the OCI layouts.
    pub images: PathBuf,
    /// The folder of the catalogue's entries.
    pub catalogue: PathBuf,
    /// Where genesis, peers, the keys of leased validators and, if it is not the one of the catalogue, the entry are
    /// written.
    pub out: PathBuf,
}

/// A network that makes blocks.
#[derive(Clone, Debug)]
pub struct Devnet {
    /// The entry to register.
    pub entry: PathBuf,
    /// The genesis.
    pub genesis: Vec<u8>,
    /// The file that holds it.
    pub genesis_path: PathBuf,
    /// Nodes of the network as its software writes them: `id@address:port`, or an ENR.
    pub peers: Vec<String>,
    /// The folder with the keystores of the leased validators, `password.txt`, and the bare keys in `secrets.txt`, for
    /// whoever looks for them where they must not be. They stand nowhere else.
    pub keys: PathBuf,
    /// An API of the network, as seen from the fabric and the machines: CometBFT's RPC, or the beacon node's.
    pub rpc: String,
}

/// Sees to it that the network exists and makes blocks.
pub fn up(rig: &Rig, config: &DevnetConfig) -> Result<Devnet> {
    let chain = config.network.chain();
    let machine = rig.add(chain)?;
    let made = format!("{HOME}/made");
    if machine.exec(&["test", "-e", &made])?.status.success() {
        // Somebody may have stopped them.
        machine.run(&["sh", "-c", "docker start $(docker ps --all --quiet)"])?;
    } else {
        images::load(&machine, &config.images.join(chain))?;
        machine.run(&["sh", "-c", CLEAR])?;
        match &config.network {
            Network::Cosmos { validators } => cosmos::make(&machine, *validators)?,
            Network::Ethereum { leased } => ethereum::make(&machine, *leased)?,
        }
        machine.run(&["touch", &made])?;
    }
    let height = match config.network {
        Network::Cosmos { .. } => cosmos::height,
        Network::Ethereum { .. } => ethereum::height,
    };
    let mut before = None; // a height that is only read from disk is no sign of life
    shell::wait_until(
        "a new block of the network",
        Duration::from_secs(180),
        || {
            let now = height(&machine)?.filter(|height| *height >= 2);
            before = before.or(now);
            Ok(now > before)
        },
    )?;
    fs::create_dir_all(&config.out).during(|| format!("create {}", config.out.display()))?;
    let entry = config.catalogue.join(chain).join("chain.toml");
    let devnet = match config.network {
        Network::Cosmos { .. } => cosmos::describe(&machine, entry, &config.out)?,
        Network::Ethereum { .. } => ethereum::describe(&machine, &entry, &config.out)?,
    };
    shell::write(&config.out.join("peers"), devnet.peers.join(","))?;
    Ok(devnet)
}

/// What an attempt that was cut off may have left goes; the image's user may write to what comes.
const CLEAR: &str = "docker rm --force $(docker ps --all --quiet) >/dev/null 2>&1 || true
rm -rf /var/lib/devnet && mkdir -p /var/lib/devnet && chown 10001:10001 /var/lib/devnet
docker network inspect devnet >/dev/null 2>&1 || docker network create devnet";

/// Starts a container of the network that comes back by itself, with a folder of its own at /data.
fn container(machine: &Machine, name: &str, more: &[&str], program: &[&str]) -> Result<()> {
    let volume = format!("{HOME}/{name}:/data");
    let life = [
        "docker",
        "run",
        "--detach",
        "--name",
        name,
        "--hostname",
        name,
        "--network",
        "devnet",
        "--restart",
        "unless-stopped",
        "--log-opt",
        "max-size=5m",
        "--volume",
        &volume,
    ];
    machine.run(&[&life[..], more, program].concat()).map(drop)
}

/// Copies the network's genesis from the machine.
fn genesis(machine: &Machine, path: &str, out: &Path) -> Result<(Vec<u8>, PathBuf)> {
    let output = machine.exec(&["cat", path])?;
    let name = Path::new(path).file_name().unwrap_or_default();
    let copy = out.join(name);
    shell::write(&copy, &output.stdout)?;
    Ok((output.stdout, copy))
}
