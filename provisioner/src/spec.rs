//! What is to stand on a machine for one placement, as plain values.
//!
//! `render` makes these from a chain's entry; `docker`, `files`, `images` and
//! `harden` bring a machine to them. Nothing here does I/O.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Label that holds the node of an object on a machine.
pub const LABEL_NODE: &str = "dev.berth.node";
/// Label that holds the placement.
pub const LABEL_PLACEMENT: &str = "dev.berth.placement";
/// Label that holds the fence.
pub const LABEL_FENCE: &str = "dev.berth.fence";
/// Label that holds the component.
pub const LABEL_COMPONENT: &str = "dev.berth.component";
/// Label that holds the image, as `repository@sha256:…`.
pub const LABEL_IMAGE: &str = "dev.berth.image";
/// Label that holds the hash of the specification that an object was made from.
pub const LABEL_SPEC: &str = "dev.berth.spec";

/// Which placement an object on a machine belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PlacementRef {
    /// Node, such as `node-018f…`.
    pub node_id: String,
    /// Placement, such as `placement-018f…`.
    pub placement_id: String,
    /// Fence of the placement.
    pub fence: u64,
}

/// An image, always by digest.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct ImageRef {
    /// Registry and repository, such as `ghcr.io/cosmos/gaia`.
    pub repository: String,
    /// Tag, for people only.
    pub tag: String,
    /// `sha256:` and 64 hex digits of the manifest.
    pub digest: String,
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.repository, self.digest)
    }
}

/// All that is to stand on a machine for one placement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Whose it is.
    pub placement: PlacementRef,
    /// Name of the bridge network that the containers share.
    pub network: String,
    /// Volumes by name; they survive a stop and are removed by a wipe.
    pub volumes: Vec<String>,
    /// Files that are not secret, below `/var/lib/berth/<node>/`.
    pub files: Vec<FileSpec>,
    /// Folders on the machine's tmpfs, below `/run/berth/<placement>/`, parents first.
    pub dirs: Vec<DirSpec>,
    /// Secret files in those folders. Only their names: the values come with the
    /// delivery, so that a deployment can be compared, hashed and printed.
    pub secrets: Vec<SecretSpec>,
    /// Containers, in the order in which they start.
    pub containers: Vec<ContainerSpec>,
}

/// A file on the machine.
#[derive(Clone, PartialEq, Eq)]
pub struct FileSpec {
    /// Absolute path on the machine.
    pub path: String,
    /// Permission bits, such as `0o444`.
    pub mode: u32,
    /// Owner, as the container sees it.
    pub uid: u32,
    /// Group, as the container sees it.
    pub gid: u32,
    /// Contents; never printed.
    pub contents: Vec<u8>,
}

impl fmt::Debug for FileSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSpec")
            .field("path", &self.path)
            .field("mode", &format_args!("{:o}", self.mode))
            .field("bytes", &self.contents.len())
            .finish_non_exhaustive()
    }
}

/// A folder on the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirSpec {
    /// Absolute path on the machine.
    pub path: String,
    /// Permission bits, such as `0o700`.
    pub mode: u32,
    /// Owner, as the container sees it.
    pub uid: u32,
    /// Group, as the container sees it.
    pub gid: u32,
}

/// A secret file on the machine, without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretSpec {
    /// Name of the secret in the chain's entry, such as `node-key`.
    pub name: String,
    /// Absolute path on the machine.
    pub path: String,
    /// Permission bits, such as `0o400`.
    pub mode: u32,
    /// Owner, as the container sees it.
    pub uid: u32,
    /// Group, as the container sees it.
    pub gid: u32,
}

impl SecretSpec {
    /// The file with its value, as it goes to the machine.
    #[must_use]
    pub fn file(&self, value: &[u8]) -> FileSpec {
        FileSpec {
            path: self.path.clone(),
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            contents: value.to_vec(),
        }
    }
}

/// One container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContainerSpec {
    /// Deterministic name, such as `berth-<short node id>-node`.
    pub name: String,
    /// Component of the chain's entry, such as `node`; `agent` is Berth's own.
    pub component: String,
    /// Image by digest.
    pub image: ImageRef,
    /// Replaces the image's entry point when not empty.
    pub entrypoint: Vec<String>,
    /// Arguments.
    pub command: Vec<String>,
    /// Environment; never a secret.
    pub env: BTreeMap<String, String>,
    /// `uid:gid`; never root.
    pub user: String,
    /// Mounts.
    pub mounts: Vec<Mount>,
    /// SHA-256 in hex over the files that it mounts, so that a changed file makes
    /// another specification.
    pub files_digest: String,
    /// Writable temporary folders: path to size in bytes.
    pub tmpfs: BTreeMap<String, u64>,
    /// Ports that leave the bridge.
    pub ports: Vec<Port>,
    /// Names on the bridge network besides the component's.
    pub aliases: Vec<String>,
    /// Capabilities added back after all are dropped.
    pub cap_add: Vec<String>,
    /// Memory limit in bytes.
    pub memory_bytes: u64,
    /// CPU limit in thousandths of a core.
    pub cpu_millis: u64,
    /// Limit of processes and threads.
    pub pids: u32,
    /// Limit of open files.
    pub nofile: u32,
    /// Seconds between SIGTERM and SIGKILL.
    pub stop_timeout_s: u32,
    /// GPUs to pass in; 0 for none.
    pub gpus: u32,
}

/// Something of the machine that a container sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mount {
    /// Where it comes from.
    pub source: MountSource,
    /// Path in the container.
    pub target: String,
    /// Whether the container may not write it.
    pub read_only: bool,
}

/// Where a mount comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum MountSource {
    /// A Docker volume of the deployment.
    Volume(String),
    /// A path of the machine; the start fails when it is missing.
    Path(String),
}

/// Who may reach a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exposure {
    /// Anyone.
    Public,
    /// Anyone, and the chain dials it: the same rule as public, told apart for people.
    Peer,
    /// Only containers of the same placement; not published at all.
    Private,
    /// Published on the machine's loopback address only.
    Loopback,
}

/// Transport of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

/// A port of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Port {
    /// Name such as `p2p`.
    pub name: String,
    /// Number in the container.
    pub container: u16,
    /// Number on the machine; unused when private.
    pub host: u16,
    /// Transport.
    pub protocol: Protocol,
    /// Who may reach it.
    pub exposure: Exposure,
}
