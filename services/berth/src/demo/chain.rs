//! The chains of the demo, and their networks.

use super::Demo;
use berth_rig::devnet::{self, Devnet, DevnetConfig, Network};
use berth_rig::{Rig, RigConfig};
use clap::ValueEnum;
use tokio::task::JoinHandle;

/// Validators in the genesis of Ethereum that run on a leased machine.
const LEASED: u8 = 4;

/// Who gets the fees of their blocks.
const FEES: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";

/// A chain whose network runs on this box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Chain {
    /// CometBFT.
    CosmosDevnet,
    /// Ethereum.
    EthereumDevnet,
}

impl Chain {
    /// Its name in the catalogue.
    pub(super) fn name(self) -> &'static str {
        self.devnet().chain()
    }

    /// Name of the node that follows it.
    pub(super) fn node(self) -> &'static str {
        match self {
            Self::CosmosDevnet => "cosmos-1",
            Self::EthereumDevnet => "ethereum-1",
        }
    }

    /// What `node launch` is told besides: of Ethereum the leased validators.
    pub(super) fn launch(self, network: &Devnet) -> Vec<String> {
        let keys = network.keys.display();
        match self {
            Self::CosmosDevnet => vec!["--role=full".to_owned()],
            Self::EthereumDevnet => vec![
                "--role=validator".to_owned(),
                format!("--fee-recipient={FEES}"),
                format!("--keys={keys}"),
                format!("--password-file={keys}/password.txt"),
                "--fresh".to_owned(),
            ],
        }
    }

    /// Whether its node signs.
    pub(super) fn signs(self) -> bool {
        self == Self::EthereumDevnet
    }

    fn devnet(self) -> Network {
        match self {
            Self::CosmosDevnet => Network::Cosmos { validators: 2 },
            Self::EthereumDevnet => Network::Ethereum { leased: LEASED },
        }
    }

    /// Starts its network beside whatever else happens.
    pub(super) fn network(
        self,
        demo: &Demo,
    ) -> anyhow::Result<JoinHandle<berth_rig::Result<Devnet>>> {
        let dir = demo.data_dir.canonicalize()?;
        let config = DevnetConfig {
            network: self.devnet(),
            images: demo.images.clone(),
            catalogue: demo.catalogue.clone(),
            out: dir.join(self.name()),
        };
        let rig = rig(demo)?;
        Ok(tokio::task::spawn_blocking(move || {
            devnet::up(&rig, &config)
        }))
    }
}

/// The machines of the demo.
pub(super) fn rig(demo: &Demo) -> anyhow::Result<Rig> {
    let dir = demo.data_dir.canonicalize()?;
    Ok(Rig::open(RigConfig {
        state_dir: dir.join("rig"),
        name: crate::dev::rig_name(&dir),
    })?)
}
