//! Chains for nodes to follow, and their entries in the catalogue.

use crate::repository;
use crate::system::Berth;
use berth_rig::devnet::{self, Devnet, DevnetConfig, Network};

impl Berth {
    /// The chain of [`Self::COSMOS`].
    pub const CHAIN: &str = "cosmos-devnet";

    /// The network that most tests follow.
    pub const COSMOS: Network = Network::Cosmos { validators: 2 };

    /// Starts a network on a machine of its own, or starts it again.
    ///
    /// # Panics
    ///
    /// When it makes no blocks.
    pub fn network(&self, network: Network) -> Devnet {
        let config = DevnetConfig {
            images: repository().join("target/images"),
            catalogue: repository().join("images"),
            out: self.dir().join(network.chain()),
            network,
        };
        let devnet = devnet::up(&self.rig(), &config);
        self.note("the network makes blocks");
        devnet.unwrap_or_else(|error| panic!("the network: {error}"))
    }

    /// Starts a network and puts its chain into the catalogue.
    #[track_caller]
    pub fn register(&self, network: Network) -> Devnet {
        let network = self.network(network);
        let images = repository().join("target/images");
        self.run(&[
            "chain",
            "register",
            &network.entry.display().to_string(),
            "--genesis",
            &network.genesis_path.display().to_string(),
            "--peers",
            &network.peers.join(","),
            "--images",
            &images.display().to_string(),
        ]);
        network
    }
}
