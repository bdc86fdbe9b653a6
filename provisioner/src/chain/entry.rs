//! The fields of `chain.toml`. `docs/adding-a-chain.md` shows them with examples.
//!
//! What may stand in them is checked in `check`; a value of [`ChainEntry`] that
//! came from [`ChainEntry::parse`](super::ChainEntry::parse) has passed.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use super::probe::Probe;
use super::units::Bytes;
use super::upgrade::Upgrade;
use crate::spec::{Exposure, Protocol};

/// A network and how its nodes are run.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainEntry {
    /// Version of the format, [`super::SCHEMA`].
    pub schema: u32,
    /// Identifier such as `cosmos-devnet`.
    pub name: String,
    /// Name for people.
    pub display_name: String,
    /// The on-chain id, such as `cosmoshub-4`.
    pub chain_id: String,
    /// Version of the entry.
    pub version: String,
    /// How safely its validators can be hosted.
    pub custody: Custody,
    /// What people have to know, such as that it was not tried.
    #[serde(default)]
    pub notice: String,
    /// Licence of the software in the images.
    pub licence: String,
    /// Containers, in the order in which they start.
    pub components: Vec<Component>,
    /// Ports of all components.
    #[serde(default)]
    pub ports: Vec<PortEntry>,
    /// Files that are not secret.
    #[serde(default)]
    pub files: Vec<FileEntry>,
    /// Secret files.
    #[serde(default)]
    pub secrets: Vec<SecretEntry>,
    /// Least hardware of each role that can be launched.
    pub requirements: BTreeMap<Role, Requirements>,
    /// How a new node finds the network.
    #[serde(default)]
    pub bootstrap: Bootstrap,
    /// What the agent measures.
    #[serde(default)]
    pub probes: Vec<Probe>,
    /// What a healthy node looks like.
    #[serde(default)]
    pub health: Health,
    /// How it is told whether a validator earns.
    #[serde(default)]
    pub duty: Option<Duty>,
    /// The node's own API, by which Berth asks the chain.
    #[serde(default)]
    pub api: Option<ChainApi>,
    /// How a node comes to this version, and back.
    #[serde(default)]
    pub upgrade: Upgrade,
    /// What the owner of a node may choose.
    #[serde(default)]
    pub settings: BTreeMap<String, Setting>,
    /// Values of the chain that never change, for templates and the signer.
    #[serde(default)]
    pub pinned: BTreeMap<String, String>,
}

/// How safely a chain's validators can be hosted on a machine of a supplier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Custody {
    /// The machine holds nothing that signs.
    RemoteSigner,
    /// Signing state outside the machine, identity on it.
    ExternalState,
    /// The machine holds the hot key; moving hands an artefact over.
    HandoffArtefact,
    /// The machine holds session keys that are never copied.
    RotateOnly,
    /// The machine holds a capped hot wallet.
    DelegatedHot,
}

/// What a node does for its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Signs.
    Validator,
    /// Follows the chain.
    Full,
    /// Keeps all history.
    Archive,
    /// Shields a validator.
    Sentry,
    /// Carries data between layers.
    Bridge,
    /// Makes proofs.
    Prover,
    /// Follows headers.
    Light,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Validator,
        Self::Full,
        Self::Archive,
        Self::Sentry,
        Self::Bridge,
        Self::Prover,
        Self::Light,
    ];
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Validator => "validator",
            Self::Full => "full",
            Self::Archive => "archive",
            Self::Sentry => "sentry",
            Self::Bridge => "bridge",
            Self::Prover => "prover",
            Self::Light => "light",
        })
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL
            .into_iter()
            .find(|role| role.to_string() == text)
            .ok_or(UnknownRole)
    }
}

/// The text names no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected `validator`, `full`, `archive`, `sentry`, `bridge`, `prover` or `light`")]
pub struct UnknownRole;

/// One container of a node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// Name such as `node`; also its host name on the node's bridge.
    pub name: String,
    /// Roles that run it.
    pub roles: Vec<Role>,
    /// Its image.
    pub image: Image,
    /// Replaces the image's entry point; a program, never a shell.
    #[serde(default)]
    pub entrypoint: Vec<String>,
    /// Arguments, with placeholders.
    #[serde(default)]
    pub command: Vec<String>,
    /// Environment, with placeholders.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// `uid:gid`, neither 0.
    pub user: String,
    /// Name of a volume to its path in the container.
    #[serde(default)]
    pub volumes: BTreeMap<String, String>,
    /// Path of a writable temporary folder to its size.
    #[serde(default)]
    pub tmpfs: BTreeMap<String, Bytes>,
    /// Folder of its secrets in the container.
    #[serde(default = "default_secrets_dir")]
    pub secrets_dir: String,
    /// Memory limit.
    pub memory: Bytes,
    /// CPU limit in thousandths of a core.
    pub cpu_millis: u32,
    /// Limit of processes and threads.
    #[serde(default = "default_pids")]
    pub pids: u32,
    /// Limit of open files.
    #[serde(default = "default_nofile")]
    pub nofile: u32,
    /// Seconds between SIGTERM and SIGKILL.
    #[serde(default = "default_stop_timeout")]
    pub stop_timeout_s: u32,
    /// Capabilities added back after all are dropped.
    #[serde(default)]
    pub cap_add: Vec<String>,
    /// GPUs to pass in.
    #[serde(default)]
    pub gpus: u32,
}

/// An image, by digest once it is pinned.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Registry and repository, such as `ghcr.io/cosmos/gaia`.
    pub repository: String,
    /// Tag, for people and for `berth chain pin`.
    pub tag: String,
    /// `sha256:` and 64 hex digits, fetched and never typed.
    pub digest: Option<String>,
    /// Built here by the recipe of this name instead of fetched.
    pub build: Option<String>,
}

impl Image {
    /// Repository and tag, as people write them.
    #[must_use]
    pub fn reference(&self) -> String {
        format!("{}:{}", self.repository, self.tag)
    }
}

/// A port of a component.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortEntry {
    /// Name such as `p2p`.
    pub name: String,
    /// Component that listens.
    pub component: String,
    /// Number in the container.
    pub number: u16,
    /// Transport.
    #[serde(default)]
    pub protocol: Protocol,
    /// What it is for.
    pub purpose: Purpose,
    /// Who may reach it.
    pub exposure: Exposure,
}

/// What a port is for: it decides how far it may be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// The chain's own network.
    P2p,
    /// Queries and transactions.
    Rpc,
    /// Between an execution and a consensus client.
    Engine,
    /// Signing.
    Signer,
    /// Measurements.
    Metrics,
}

/// A file that is not secret, read-only in the container.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Component that sees it.
    pub component: String,
    /// Path in the container.
    pub path: String,
    /// Contents, with placeholders.
    pub template: Option<String>,
    /// `genesis`: the file of `[bootstrap]`, as it was registered.
    pub source: Option<Source>,
}

impl FileEntry {
    /// The folder that is mounted for it.
    #[must_use]
    pub fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

/// A file that is delivered and not rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The genesis of `[bootstrap]`.
    Genesis,
}

/// A secret file, made once for a node and kept in Vault.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretEntry {
    /// Name such as `node-key`.
    pub name: String,
    /// How it is made.
    pub kind: super::secret::SecretKind,
    /// Components that read it.
    pub components: Vec<String>,
    /// Name in the component's folder of secrets.
    pub file: String,
}

/// Least hardware that a machine must have. A zero asks for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Requirements {
    /// Logical processors.
    pub cpu_cores: u32,
    /// Memory.
    pub memory: Bytes,
    /// Free space on the data disk.
    pub disk: Bytes,
    /// Measured random 4 KiB reads a second of the data disk.
    pub disk_read_iops: u32,
    /// Measured random 4 KiB writes a second of the data disk.
    pub disk_write_iops: u32,
    /// CPU flags as `/proc/cpuinfo` names them, such as `avx2`.
    pub cpu_flags: Vec<String>,
    /// GPUs.
    pub gpu_count: u32,
    /// Memory of each GPU.
    pub gpu_memory: Bytes,
    /// Least NVIDIA driver version, such as `555`.
    pub gpu_driver: String,
    /// Whether simultaneous multithreading must be off.
    pub smt_off: bool,
}

/// How a new node finds the network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bootstrap {
    /// The genesis, where the software does not bring it.
    pub genesis: Option<Genesis>,
    /// Nodes to stay connected to, as the software writes them.
    pub peers: Vec<String>,
    /// Nodes to ask for others.
    pub seeds: Vec<String>,
}

/// The first state of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// Name under which it is registered, such as `genesis.json`.
    pub file: String,
    /// SHA-256 in hex; absent until it was registered or fetched.
    pub sha256: Option<String>,
    /// Where to fetch it; for people and `berth chain register`.
    pub url: Option<String>,
}

/// What a healthy node looks like. A zero asks for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Health {
    /// Fewest peers.
    pub min_peers: u32,
    /// Most blocks behind the head.
    pub max_distance: u64,
    /// Longest time without a new block, in seconds.
    pub max_block_age_s: u32,
    /// Least free share of a volume's disk, in percent.
    pub min_disk_free_percent: u32,
    /// Longest time without any signal, in seconds.
    pub silence_s: u32,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            min_peers: 0,
            max_distance: 0,
            max_block_age_s: 0,
            min_disk_free_percent: 0,
            silence_s: 60,
        }
    }
}

/// How it is told whether a validator earns: names of metrics that probes feed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Duty {
    /// Counts duties done.
    pub done: String,
    /// Counts duties missed.
    pub missed: String,
    /// Above zero while a validator of the node is active.
    pub in_set: String,
    /// Counts what the signer refused.
    pub refused: Option<String>,
    /// 1 while the node follows the chain and cannot do its duty.
    pub unready: Option<String>,
    /// How far to look back, in seconds.
    pub window_s: u32,
}

impl Duty {
    /// The metrics, by field.
    #[must_use]
    pub fn metrics(&self) -> Vec<(&'static str, &str)> {
        let mut all = vec![
            ("done", self.done.as_str()),
            ("missed", &self.missed),
            ("in_set", &self.in_set),
        ];
        all.extend(self.refused.as_deref().map(|name| ("refused", name)));
        all.extend(self.unready.as_deref().map(|name| ("unready", name)));
        all
    }
}

/// The API of a node that tells what the chain knows and takes what owners signed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainApi {
    /// What it speaks.
    pub kind: ApiKind,
    /// The port of `[[ports]]` on which it answers.
    pub port: String,
}

/// What an API speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ApiKind {
    /// The standard API of Ethereum's beacon nodes.
    EthereumBeacon,
}

/// Something that the owner of a node may choose.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// What a value looks like.
    #[serde(rename = "type")]
    pub kind: SettingKind,
    /// Used when the owner says nothing; `{node.name}` is the node's name. Without
    /// one, the owner of a node whose components use it has to choose.
    pub default: Option<String>,
    /// One line for people.
    pub help: String,
    /// Regular expression that the whole text must match.
    pub pattern: Option<String>,
    /// Least integer.
    pub min: Option<i64>,
    /// Greatest integer.
    pub max: Option<i64>,
    /// Values of a choice.
    #[serde(default)]
    pub values: Vec<String>,
}

/// What the value of a setting looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SettingKind {
    /// Text that matches `pattern`.
    Text,
    /// A whole number between `min` and `max`.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// One of `values`.
    Choice,
}

fn default_secrets_dir() -> String {
    "/run/secrets".to_owned()
}

const fn default_pids() -> u32 {
    1024
}

const fn default_nofile() -> u32 {
    16_384
}

const fn default_stop_timeout() -> u32 {
    30
}
