//! What the agent measures of a node: the `[[probes]]` of a chain's entry, which
//! stand in the agent's configuration word for word.
//!
//! No I/O here; the agent has its own reader of the same text. The metrics that
//! health is computed from are listed in `docs/adding-a-chain.md`: an entry feeds
//! `berth.node.{height, head_height, distance, catching_up, peers, block_time_unix}`;
//! the agent adds `berth.node.up`, `berth.disk.*`, `berth.gpu.*`, `berth.clock.offset`,
//! `berth.probe.up` and `berth.agent.dropped` by itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One measurement, repeated at the agent's interval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Probe {
    /// `GET url`, then numbers out of the JSON answer.
    HttpJson {
        /// Unique in the entry; names the probe in logs.
        name: String,
        /// Such as `http://node:26657/status`; hosts are components on the bridge.
        url: String,
        /// `berth.node.up` is 1 while every probe that says so succeeds.
        #[serde(default)]
        liveness: bool,
        /// Seconds until it counts as failed.
        #[serde(default = "default_timeout")]
        timeout_s: u32,
        /// What to take out of the answer.
        #[serde(default)]
        values: Vec<Reading>,
    },
    /// JSON-RPC 2.0 by `POST url`; pointers start at the whole answer, so at `/result`.
    /// An answer with `error` is a failure.
    JsonRpc {
        /// Unique in the entry; names the probe in logs.
        name: String,
        /// Such as `http://execution:8545`.
        url: String,
        /// Such as `eth_syncing`.
        method: String,
        /// Positional parameters.
        #[serde(default)]
        params: Vec<toml::Value>,
        /// `berth.node.up` is 1 while every probe that says so succeeds.
        #[serde(default)]
        liveness: bool,
        /// Seconds until it counts as failed.
        #[serde(default = "default_timeout")]
        timeout_s: u32,
        /// What to take out of the answer.
        #[serde(default)]
        values: Vec<Reading>,
    },
    /// A scrape of the Prometheus text format.
    Prometheus {
        /// Unique in the entry; names the probe in logs.
        name: String,
        /// Such as `http://node:26660/metrics`.
        url: String,
        /// `berth.node.up` is 1 while every probe that says so succeeds.
        #[serde(default)]
        liveness: bool,
        /// Seconds until it counts as failed.
        #[serde(default = "default_timeout")]
        timeout_s: u32,
        /// Samples passed on under their own names; all others are dropped.
        #[serde(default)]
        allow: Vec<String>,
        /// Labels kept on those; all others are dropped and equal ones summed.
        #[serde(default)]
        labels: Vec<String>,
        /// Sample name to the metric that its sum becomes, such as
        /// `cometbft_p2p_peers` to `berth.node.peers`.
        #[serde(default)]
        map: BTreeMap<String, String>,
    },
    /// `statvfs` of a volume: `berth.disk.size` and `berth.disk.free` with label `volume`.
    Disk {
        /// Unique in the entry; names the probe in logs.
        name: String,
        /// Volume of the entry; the agent sees it as `<volumes>/<volume>`.
        volume: String,
    },
    /// `nvidia-smi`: `berth.gpu.*`, per GPU with label `gpu`.
    Gpu {
        /// Unique in the entry; names the probe in logs.
        name: String,
    },
}

impl Probe {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::HttpJson { name, .. }
            | Self::JsonRpc { name, .. }
            | Self::Prometheus { name, .. }
            | Self::Disk { name, .. }
            | Self::Gpu { name } => name,
        }
    }

    /// Where it asks, for the kinds that ask over the network.
    #[must_use]
    pub fn url(&self) -> Option<&str> {
        match self {
            Self::HttpJson { url, .. }
            | Self::JsonRpc { url, .. }
            | Self::Prometheus { url, .. } => Some(url),
            Self::Disk { .. } | Self::Gpu { .. } => None,
        }
    }

    /// The volume that it looks at.
    #[must_use]
    pub fn volume(&self) -> Option<&str> {
        match self {
            Self::Disk { volume, .. } => Some(volume),
            Self::HttpJson { .. }
            | Self::JsonRpc { .. }
            | Self::Prometheus { .. }
            | Self::Gpu { .. } => None,
        }
    }

    /// Whether `berth.node.up` depends on it.
    #[must_use]
    pub fn is_liveness(&self) -> bool {
        match self {
            Self::HttpJson { liveness, .. }
            | Self::JsonRpc { liveness, .. }
            | Self::Prometheus { liveness, .. } => *liveness,
            Self::Disk { .. } | Self::Gpu { .. } => false,
        }
    }

    /// Seconds until it counts as failed, for the kinds that ask over the network.
    #[must_use]
    pub fn timeout_s(&self) -> Option<u32> {
        match self {
            Self::HttpJson { timeout_s, .. }
            | Self::JsonRpc { timeout_s, .. }
            | Self::Prometheus { timeout_s, .. } => Some(*timeout_s),
            Self::Disk { .. } | Self::Gpu { .. } => None,
        }
    }

    /// What it takes out of a JSON answer.
    #[must_use]
    pub fn values(&self) -> &[Reading] {
        match self {
            Self::HttpJson { values, .. } | Self::JsonRpc { values, .. } => values,
            Self::Prometheus { .. } | Self::Disk { .. } | Self::Gpu { .. } => &[],
        }
    }
}

/// One number out of a JSON answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    /// Name of the metric, such as `berth.node.height`.
    pub metric: String,
    /// JSON pointer (RFC 6901). With `as = "max"` one segment is `*`: every element.
    pub pointer: String,
    /// How the value becomes a number.
    #[serde(rename = "as", default)]
    pub read: Read,
    /// Unit after UCUM, such as `By`; the standard metrics have theirs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
}

/// How a JSON value becomes a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Read {
    /// A number, decimal text, `0x` text, or a boolean as 1 and 0. Otherwise no sample.
    #[default]
    Number,
    /// 0 for `false`, `null`, 0, an empty text or nothing there; 1 for all else.
    Truthy,
    /// RFC 3339 text as seconds since 1970.
    Time,
    /// Number of elements of an array or fields of an object.
    Count,
    /// Largest number that the pointer with `*` finds; no sample when it finds none.
    Max,
}

const fn default_timeout() -> u32 {
    3
}
