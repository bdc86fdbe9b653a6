//! From a chain's entry and a node's settings to what is to stand on a machine.
//!
//! Pure: the same arguments give the same bytes, and no secret passes through.
//! On the machine, files of a component stand at
//! `/var/lib/berth/<node>/<component>/<path in the container>` and its secrets at
//! `/run/berth/<placement>/<component>/`; the folder of each file is mounted as a
//! whole, read-only.

pub mod agent;
mod containers;
mod sidecar;
mod values;

use std::collections::BTreeMap;

use crate::chain::{ChainEntry, Role, SettingProblem};
use crate::spec::{Deployment, ImageRef, PlacementRef};
use agent::{Control, Signer};

/// Longest argument or value of an environment variable once values are put in.
pub const MAX_ARGUMENT: usize = 40 * 1024;
/// Longest rendered file.
pub const MAX_FILE: usize = 256 * 1024;

/// All that decides what stands on a machine.
#[derive(Debug, Clone)]
pub struct Launch<'a> {
    /// The chain.
    pub entry: &'a ChainEntry,
    /// What the node does.
    pub role: Role,
    /// Name that its owner gave it.
    pub node_name: &'a str,
    /// What its owner chose.
    pub settings: &'a BTreeMap<String, String>,
    /// Files that were registered beside the entry, by name.
    pub files: &'a BTreeMap<String, Vec<u8>>,
    /// Whose all of it is.
    pub placement: &'a PlacementRef,
    /// Host name or IP address of the machine as peers reach it.
    pub machine_address: &'a str,
    /// Added to each published port's number, so that nodes can share a machine.
    pub port_offset: u16,
    /// Berth's own container.
    pub agent: AgentLaunch<'a>,
}

/// The agent of a placement.
#[derive(Debug, Clone)]
pub struct AgentLaunch<'a> {
    /// Its image.
    pub image: &'a ImageRef,
    /// The control plane as the machine reaches it.
    pub control: &'a Control,
    /// The signer, if there is one, for nodes that sign.
    pub signer: Option<&'a Signer>,
    /// Authority of the control plane's certificates, PEM.
    pub ca_pem: &'a str,
    /// Seconds between two rounds of all probes.
    pub interval_s: u32,
}

/// Why nothing can be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// The entry is not complete.
    #[error("{0}")]
    NotLaunchable(String),
    /// The chain has no such role.
    #[error("the chain has no role `{0}`")]
    NoRole(Role),
    /// Settings that do not fit.
    #[error("{}", join(.0))]
    Settings(Vec<SettingProblem>),
    /// A file that should have been registered beside the entry, or was changed.
    #[error("{0}")]
    Files(String),
    /// An identifier, name or address that cannot be put into a configuration.
    #[error("the {0} cannot be used in a configuration")]
    Unusable(&'static str),
    /// A port that does not fit with the offset.
    #[error("port {number} with offset {offset} is more than 65535")]
    Port {
        /// Number in the entry.
        number: u16,
        /// What was added.
        offset: u16,
    },
    /// Something became too long once values were put in.
    #[error("{what} of component `{component}` is longer than {limit} bytes")]
    TooLong {
        /// What.
        what: String,
        /// Component.
        component: String,
        /// Limit in bytes.
        limit: usize,
    },
    /// A placeholder without a value; the checks of the entry exclude it.
    #[error("no value for `{0}`")]
    NoValue(String),
    /// The agent's configuration could not be written.
    #[error("the agent's configuration: {0}")]
    Agent(String),
}

fn join(problems: &[SettingProblem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("; ")
}

/// Renders what is to stand on the machine.
///
/// # Errors
///
/// Why the entry, the settings or the place do not allow it.
pub fn render(launch: &Launch<'_>) -> Result<Deployment, RenderError> {
    let entry = launch.entry;
    if !entry.requirements.contains_key(&launch.role) {
        return Err(RenderError::NoRole(launch.role));
    }
    entry.launchable().map_err(RenderError::NotLaunchable)?;
    entry
        .check_files(launch.files)
        .map_err(RenderError::Files)?;
    let settings = entry
        .settings(launch.role, launch.settings, launch.node_name)
        .map_err(RenderError::Settings)?;
    let names = Names::new(launch.placement)?;
    let mut deployment = Deployment {
        placement: launch.placement.clone(),
        network: names.network(),
        volumes: Vec::new(),
        files: Vec::new(),
        dirs: Vec::new(),
        secrets: Vec::new(),
        containers: Vec::new(),
    };
    for component in entry.components_of(launch.role) {
        let values = values::of(launch, &settings, component)?;
        containers::add(launch, &names, component, &values, &mut deployment)?;
    }
    sidecar::add(launch, &names, &mut deployment)?;
    Ok(deployment)
}

/// Names of a placement's objects on its machine.
#[derive(Debug, Clone)]
struct Names {
    /// The last twelve hex digits of the node's UUID: the first ones are a time,
    /// which nodes that were made together share.
    short: String,
    /// Folder of files that are not secret.
    data: String,
    /// Folder of secrets.
    run: String,
}

impl Names {
    fn new(placement: &PlacementRef) -> Result<Self, RenderError> {
        let uuid = |id: &str, prefix: &str| {
            let uuid = id.strip_prefix(prefix)?;
            let plain = uuid.len() == 36
                && uuid.bytes().enumerate().all(|(i, b)| match i {
                    8 | 13 | 18 | 23 => b == b'-',
                    _ => matches!(b, b'0'..=b'9' | b'a'..=b'f'),
                });
            plain.then(|| uuid[24..].to_owned())
        };
        let short = uuid(&placement.node_id, "node-")
            .ok_or(RenderError::Unusable("identifier of the node"))?;
        uuid(&placement.placement_id, "placement-")
            .ok_or(RenderError::Unusable("identifier of the placement"))?;
        Ok(Self {
            short,
            data: format!("/var/lib/berth/{}", placement.node_id),
            run: format!("/run/berth/{}", placement.placement_id),
        })
    }

    fn network(&self) -> String {
        format!("berth-{}", self.short)
    }

    fn container(&self, component: &str) -> String {
        format!("berth-{}-{component}", self.short)
    }

    fn volume(&self, volume: &str) -> String {
        format!("berth-{}-{volume}", self.short)
    }

    fn file(&self, component: &str, path: &str) -> String {
        format!("{}/{component}{path}", self.data)
    }

    fn secrets(&self, component: &str) -> String {
        format!("{}/{component}", self.run)
    }
}

#[cfg(test)]
mod tests;
