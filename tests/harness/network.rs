//! A chain for nodes to follow, and its entry in the catalogue.

use crate::repository;
use crate::system::Berth;
use berth_rig::devnet::{self, Devnet, DevnetConfig};
use serde_json::Value;

/// Validators of the network.
const VALIDATORS: u8 = 2;

impl Berth {
    /// The chain that [`Self::network`] registers.
    pub const CHAIN: &str = "cosmos-devnet";

    /// Starts the network of the chain on a machine of its own, or starts it
    /// again.
    ///
    /// # Panics
    ///
    /// When it makes no blocks.
    pub fn network(&self) -> Devnet {
        let config = DevnetConfig {
            validators: VALIDATORS,
            image: repository().join("target/images").join(Self::CHAIN),
            out: self.dir().join("devnet"),
        };
        let network = devnet::up(&self.rig(), &config);
        self.note("the network makes blocks");
        network.unwrap_or_else(|error| panic!("the network: {error}"))
    }

    /// Starts the network and puts its chain into the catalogue.
    #[track_caller]
    pub fn register_chain(&self) -> Value {
        let network = self.network();
        let entry = repository().join("images/cosmos-devnet/chain.toml");
        let images = repository().join("target/images");
        self.run(&[
            "chain",
            "register",
            &entry.display().to_string(),
            "--genesis",
            &network.genesis_path.display().to_string(),
            "--peers",
            &network.peers.join(","),
            "--images",
            &images.display().to_string(),
        ])["chain"]
            .take()
    }
}
