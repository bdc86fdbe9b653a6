//! `[upgrade]`: how a new version shows that it works, and which earlier
//! versions can go on where it stopped.

use serde::Deserialize;

/// How a node comes to this version, and back.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Upgrade {
    /// How long a node has to become healthy, in seconds.
    pub gate_s: u32,
    /// How long it has to stay so, in seconds.
    pub steady_s: u32,
    /// Versions of the entry that can read what this one leaves on the volumes.
    pub rollback_to: Vec<String>,
}

impl Default for Upgrade {
    fn default() -> Self {
        Self {
            gate_s: 300,
            steady_s: 30,
            rollback_to: Vec::new(),
        }
    }
}
