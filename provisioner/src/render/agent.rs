//! The configuration file of the agent, `/etc/berth/agent.toml` in its container.
//!
//! The agent reads it with types of its own, since it must not depend on this
//! crate; `images/agent/golden/agent.toml` is parsed by the tests of both.
//!
//! The folder of the identity is on the machine's tmpfs and is the one place that
//! the agent may write. It makes `key_file` (0600) and `csr_file` there when it
//! finds no key; provisioning reads the request over SSH and writes
//! `certificate_file` (a temporary name, then a rename), which the agent waits
//! for. Later the agent renews by itself and replaces both files.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::chain::probe::Probe;

/// Version of the format.
pub const SCHEMA: u32 = 1;
/// Where the file stands in the container.
pub const CONFIG_PATH: &str = "/etc/berth/agent.toml";
/// Where the authority stands in the container.
pub const CA_PATH: &str = "/etc/berth/ca.pem";
/// Folder of the identity in the container.
pub const IDENTITY_DIR: &str = "/run/berth/identity";
/// Folder of the volumes that disk probes look at, each read-only, by its name.
pub const VOLUMES_DIR: &str = "/volumes";
/// Name of the agent on the bridge where it carries requests to the signer.
pub const SIGNER: &str = "berth-signer";
/// Port of that.
pub const SIGNER_PORT: u16 = 9000;
/// User and group of the agent.
pub const UID: u32 = 10_002;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentConfig {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Seconds between two rounds of all probes.
    pub interval_s: u32,
    /// Bytes of samples kept while the way is cut; the oldest go first.
    pub buffer_bytes: u64,
    /// Folder of the volumes, [`VOLUMES_DIR`].
    pub volumes: String,
    /// Whom the agent measures.
    pub node: NodeLabels,
    /// Where it sends.
    pub control: Control,
    /// What it carries to the signer; absent where nothing signs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<Signer>,
    /// Who it is.
    pub identity: Identity,
    /// OTLP resource attributes. The receiver replaces those that matter by what
    /// the certificate says.
    pub resource: BTreeMap<String, String>,
    /// What it measures.
    #[serde(default)]
    pub probes: Vec<Probe>,
}

/// Whom the agent measures, for its own logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeLabels {
    /// Such as `node-018f…`.
    pub node_id: String,
    /// Such as `placement-018f…`.
    pub placement_id: String,
    /// Fence of the placement.
    pub fence: u64,
    /// Such as `cosmos-devnet`.
    pub chain: String,
    /// Such as `full`.
    pub role: String,
}

/// The control plane as the machine reaches it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// Monitoring's OTLP/gRPC listener, such as `https://203.0.113.9:4317`.
    pub otlp_endpoint: String,
    /// Name that its certificate must carry.
    pub otlp_server_name: String,
    /// Provisioning's placement listener (`RenewCertificate`).
    pub renew_endpoint: String,
    /// Name that its certificate must carry.
    pub renew_server_name: String,
}

/// The signer as the machine reaches it, and as its containers do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signer {
    /// Where the agent listens on the bridge.
    pub listen: String,
    /// Duty listeners of the signer's replicas, such as `https://203.0.113.9:7208`.
    pub endpoints: Vec<String>,
    /// Name that their certificates must carry.
    pub server_name: String,
}

impl Signer {
    /// The signer behind these duty listeners, `host:port` each with commas
    /// between; `None` for an empty text.
    #[must_use]
    pub fn at(addresses: &str) -> Option<Self> {
        let addresses = addresses.split(',').map(str::trim);
        let endpoints: Vec<_> = addresses
            .filter(|address| !address.is_empty())
            .map(|address| format!("https://{address}"))
            .collect();
        (!endpoints.is_empty()).then(|| Self {
            listen: format!("0.0.0.0:{SIGNER_PORT}"),
            endpoints,
            server_name: "signer".to_owned(),
        })
    }
}

/// Files of the identity, all PEM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Private key; the agent makes it.
    pub key_file: String,
    /// First PKCS#10 request; the agent makes it.
    pub csr_file: String,
    /// Certificate and its issuers; written by provisioning first, by the agent later.
    pub certificate_file: String,
    /// Authority of the control plane's certificates.
    pub ca_file: String,
    /// Seconds after which a certificate is renewed.
    pub renew_after_s: u32,
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            key_file: format!("{IDENTITY_DIR}/key.pem"),
            csr_file: format!("{IDENTITY_DIR}/request.pem"),
            certificate_file: format!("{IDENTITY_DIR}/certificate.pem"),
            ca_file: CA_PATH.to_owned(),
            renew_after_s: 8 * 3600,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str = include_str!("../../../images/agent/golden/agent.toml");

    #[test]
    fn the_golden_file_is_what_the_types_write() {
        let config: AgentConfig = toml::from_str(GOLDEN).unwrap();
        assert_eq!(config.schema, SCHEMA);
        let written = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<AgentConfig>(&written).unwrap(), config);
        assert_eq!(config.identity, Identity::default());
    }

    #[test]
    fn the_section_of_the_signer_is_what_the_types_write() {
        let section = include_str!("../../../images/agent/golden/signer.toml");
        let text = GOLDEN.replace("[identity]", &format!("{section}\n[identity]"));
        let config: AgentConfig = toml::from_str(&text).unwrap();
        let signer = Signer::at("203.0.113.9:7208, 203.0.113.10:7208");
        assert_eq!(config.signer, signer);
        assert_eq!(Signer::at(""), None);
    }

    #[test]
    fn an_unknown_field_is_an_error() {
        let text = GOLDEN.replace("name = \"gpu\"", "name = \"gpu\"\ncolour = 1");
        assert!(toml::from_str::<AgentConfig>(&text).is_err());
    }
}
