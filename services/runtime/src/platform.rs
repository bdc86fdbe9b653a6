//! What a service finds around it: its identity and where the others are.

use crate::clients;
use crate::identity::Identity;
use serde::Deserialize;
use tonic::transport::Channel;

/// Where each service answers its peers, as `host:port`; several replicas with
/// a comma between, and empty for one that this process never asks.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Peers {
    /// Inventory.
    pub inventory: String,
    /// Leasing.
    pub leasing: String,
    /// Provisioning.
    pub provisioning: String,
    /// Monitoring.
    pub monitoring: String,
    /// The signer's admin listener.
    pub signer: String,
}

/// What a service finds around it; cheap to clone.
#[derive(Debug, Clone)]
pub struct Platform {
    /// The process's own certificate.
    pub identity: Identity,
    /// Where the others are.
    pub peers: Peers,
}

impl Platform {
    /// A channel to inventory.
    #[must_use]
    pub fn inventory(&self) -> Channel {
        clients::channel("inventory", &self.peers.inventory, &self.identity)
    }

    /// A channel to leasing.
    #[must_use]
    pub fn leasing(&self) -> Channel {
        clients::channel("leasing", &self.peers.leasing, &self.identity)
    }

    /// A channel to provisioning.
    #[must_use]
    pub fn provisioning(&self) -> Channel {
        clients::channel("provisioning", &self.peers.provisioning, &self.identity)
    }

    /// A channel to monitoring.
    #[must_use]
    pub fn monitoring(&self) -> Channel {
        clients::channel("monitoring", &self.peers.monitoring, &self.identity)
    }

    /// A channel to the signer.
    #[must_use]
    pub fn signer(&self) -> Channel {
        clients::channel("signer", &self.peers.signer, &self.identity)
    }
}
