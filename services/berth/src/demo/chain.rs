//! The chains of the demo, and their networks.

use super::Demo;
use berth_rig::devnet::{self, Devnet, DevnetConfig, Network};
use berth_rig::{Rig, RigConfig};
use clap::ValueEnum;
use tokio::task::JoinHandle;

/// A chain whose network runs on this box.
#[derive(Debug, Clone, Copy, ValueEnum)]
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

    fn devnet(self) -> Network {
        match self {
            Self::CosmosDevnet => Network::Cosmos { validators: 2 },
            Self::EthereumDevnet => Network::Ethereum { leased: Vec::new() },
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
        let rig = Rig::open(RigConfig {
            state_dir: dir.join("rig"),
            name: crate::dev::rig_name(&dir),
        })?;
        Ok(tokio::task::spawn_blocking(move || {
            devnet::up(&rig, &config)
        }))
    }
}
