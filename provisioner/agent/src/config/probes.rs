//! The `[[probes]]` of the configuration: what to measure, and within which bounds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hyper::Uri;
use serde::Deserialize;

use super::{ConfigError, ensure};

const MAX_NAMES: usize = 256;
const MAX_NAME: usize = 255;

/// One measurement, repeated every interval.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Probe {
    /// `GET`, then numbers out of the JSON answer.
    HttpJson(HttpJson),
    /// JSON-RPC 2.0, then numbers out of the answer.
    JsonRpc(JsonRpc),
    /// A scrape of the Prometheus text format.
    Prometheus(Prometheus),
    /// Size and free space of a volume.
    Disk(Disk),
    /// What `nvidia-smi` says.
    Gpu(Gpu),
}

/// See [`Probe::HttpJson`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpJson {
    /// Unique; names the probe in logs and in `berth.probe.up`.
    pub name: String,
    /// `http://` and a component on the bridge.
    #[serde(deserialize_with = "uri")]
    pub url: Uri,
    /// `berth.node.up` is 1 while every probe that says so succeeds.
    #[serde(default)]
    pub liveness: bool,
    /// Seconds until it counts as failed.
    #[serde(default = "default_timeout")]
    pub timeout_s: u32,
    /// What to take out of the answer.
    #[serde(default)]
    pub values: Vec<Reading>,
}

/// See [`Probe::JsonRpc`].
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JsonRpc {
    /// Unique; names the probe in logs and in `berth.probe.up`.
    pub name: String,
    /// `http://` and a component on the bridge.
    #[serde(deserialize_with = "uri")]
    pub url: Uri,
    /// Such as `eth_syncing`.
    pub method: String,
    /// Positional parameters.
    #[serde(default)]
    pub params: Vec<serde_json::Value>,
    /// `berth.node.up` is 1 while every probe that says so succeeds.
    #[serde(default)]
    pub liveness: bool,
    /// Seconds until it counts as failed.
    #[serde(default = "default_timeout")]
    pub timeout_s: u32,
    /// What to take out of the answer; pointers start at the whole of it.
    #[serde(default)]
    pub values: Vec<Reading>,
}

/// See [`Probe::Prometheus`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prometheus {
    /// Unique; names the probe in logs and in `berth.probe.up`.
    pub name: String,
    /// `http://` and a component on the bridge.
    #[serde(deserialize_with = "uri")]
    pub url: Uri,
    /// `berth.node.up` is 1 while every probe that says so succeeds.
    #[serde(default)]
    pub liveness: bool,
    /// Seconds until it counts as failed.
    #[serde(default = "default_timeout")]
    pub timeout_s: u32,
    /// Samples passed on under their own names; all others are dropped.
    #[serde(default)]
    pub allow: BTreeSet<String>,
    /// Labels kept on those; all others are dropped and equal ones summed.
    #[serde(default)]
    pub labels: BTreeSet<String>,
    /// Sample name to the metric that its sum becomes.
    #[serde(default)]
    pub map: BTreeMap<String, String>,
}

/// See [`Probe::Disk`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// Unique; names the probe in logs and in `berth.probe.up`.
    pub name: String,
    /// Folder below [`Config::volumes`].
    pub volume: String,
}

/// See [`Probe::Gpu`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gpu {
    /// Unique; names the probe in logs and in `berth.probe.up`.
    pub name: String,
}

/// One number out of a JSON answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    /// Name of the metric, such as `berth.node.height`.
    pub metric: String,
    /// JSON pointer (RFC 6901). With `as = "max"` one segment is `*`: every element.
    pub pointer: String,
    /// How the value becomes a number.
    #[serde(rename = "as", default)]
    pub read: Read,
    /// Unit after UCUM; empty for the standard metrics, which have theirs.
    #[serde(default)]
    pub unit: String,
}

/// How a JSON value becomes a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
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

impl Probe {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::HttpJson(probe) => &probe.name,
            Self::JsonRpc(probe) => &probe.name,
            Self::Prometheus(probe) => &probe.name,
            Self::Disk(probe) => &probe.name,
            Self::Gpu(probe) => &probe.name,
        }
    }

    /// Whether the node counts as down when it fails.
    #[must_use]
    pub const fn liveness(&self) -> bool {
        match self {
            Self::HttpJson(probe) => probe.liveness,
            Self::JsonRpc(probe) => probe.liveness,
            Self::Prometheus(probe) => probe.liveness,
            Self::Disk(_) | Self::Gpu(_) => false,
        }
    }

    /// How long it may take.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        let seconds = match self {
            Self::HttpJson(probe) => probe.timeout_s,
            Self::JsonRpc(probe) => probe.timeout_s,
            Self::Prometheus(probe) => probe.timeout_s,
            Self::Disk(_) | Self::Gpu(_) => 10,
        };
        Duration::from_secs(seconds as u64)
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let field = format!("probe {:?}", self.name());
        let name_fits = !self.name().is_empty() && self.name().len() <= 64;
        ensure(name_fits, &field, "must have a name of 1 to 64 bytes")?;
        let timeout_fits = (1..=60).contains(&self.timeout().as_secs());
        ensure(timeout_fits, &field, "timeout_s must be 1 to 60")?;
        match self {
            Self::HttpJson(HttpJson { values, .. }) | Self::JsonRpc(JsonRpc { values, .. }) => {
                ensure(
                    values.len() <= MAX_NAMES,
                    &field,
                    "has more than 256 values",
                )?;
                values.iter().try_for_each(|reading| reading.check(&field))
            }
            Self::Prometheus(probe) => {
                let names = probe.allow.len() + probe.map.len() + probe.labels.len();
                ensure(
                    names <= MAX_NAMES,
                    &field,
                    "names more than 256 samples and labels",
                )?;
                probe
                    .map
                    .values()
                    .try_for_each(|metric| check_metric(&field, metric))
            }
            Self::Disk(Disk { volume, .. }) => {
                let plain = !matches!(volume.as_str(), "" | "." | "..") && !volume.contains('/');
                ensure(plain, &field, "volume must be one plain folder name")
            }
            Self::Gpu(_) => Ok(()),
        }
    }
}

impl Reading {
    fn check(&self, field: &str) -> Result<(), ConfigError> {
        check_metric(field, &self.metric)?;
        let absolute = self.pointer.is_empty() || self.pointer.starts_with('/');
        ensure(absolute, field, "pointer must be empty or begin with /")?;
        let stars = self
            .pointer
            .split('/')
            .filter(|segment| *segment == "*")
            .count();
        let wanted = usize::from(self.read == Read::Max);
        ensure(
            stars == wanted,
            field,
            "pointer has one segment * with as = \"max\", else none",
        )
    }
}

fn check_metric(field: &str, metric: &str) -> Result<(), ConfigError> {
    let fits = !metric.is_empty() && metric.len() <= MAX_NAME && metric.is_ascii();
    ensure(fits, field, "a metric's name is 1 to 255 ASCII characters")
}

fn uri<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Uri, D::Error> {
    let text = String::deserialize(deserializer)?;
    let uri: Uri = text.parse().map_err(serde::de::Error::custom)?;
    if uri.scheme_str() != Some("http") || uri.host().is_none_or(str::is_empty) {
        return Err(serde::de::Error::custom(
            "must be http://host:port/path, on the node's bridge",
        ));
    }
    Ok(uri)
}

const fn default_timeout() -> u32 {
    3
}
