//! The service's configuration.

use berth_provisioner::render::agent::{Control, Signer};
use berth_provisioner::spec::ImageRef;
use berth_runtime::pg::DatabaseConfig;
use serde::{Deserialize, Deserializer, de};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Everything that an operator decides.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where other services are answered.
    pub listen: SocketAddr,
    /// Where the agents of placements are answered.
    pub placement_listen: SocketAddr,
    /// The database.
    pub database: DatabaseConfig,
    /// Folder with one OCI image layout a folder, for images that machines
    /// cannot pull from a registry.
    pub images: PathBuf,
    /// The agent's image as `repository:tag@sha256:…`; the layout `agent` in
    /// `images` when absent.
    #[serde(default, deserialize_with = "image")]
    pub agent_image: Option<ImageRef>,
    /// `host:port` of monitoring's OTLP listener, as machines reach it.
    pub otlp_endpoint: String,
    /// `host:port` of `placement_listen`, as machines reach it.
    pub renew_endpoint: String,
    /// `host:port` of the signer's duty listener, as machines reach it; several
    /// replicas with a comma between. Empty without a signer: then no validator
    /// can be launched.
    #[serde(default)]
    pub signer_endpoint: String,
    /// Most steps of work at once.
    #[serde(default = "default_concurrency")]
    pub concurrency: usize,
    /// Seconds between two looks at a running node.
    #[serde(default = "default_watch_seconds")]
    pub watch_seconds: u64,
    /// Seconds between two comparisons of what stands on a running node's
    /// machine with what should: containers, files, firewall, host key.
    #[serde(default = "default_drift_seconds")]
    pub drift_seconds: u64,
    /// Seconds between two measurements of a leased machine's hardware; it is
    /// measured after a reboot too.
    #[serde(default = "default_facts_seconds")]
    pub facts_seconds: u64,
    /// Seconds after which a machine that cannot be reached counts as lost to a
    /// retired node, once its lease is over.
    #[serde(default = "default_abandon_seconds")]
    pub abandon_seconds: u64,
    /// Longest wait for an SSH connection, in seconds.
    #[serde(default = "default_connect_seconds")]
    pub connect_seconds: u64,
    /// Longest wait for one ordinary call to a machine, in seconds.
    #[serde(default = "default_call_seconds")]
    pub call_seconds: u64,
    /// Longest silence during a long call such as a pull, in seconds.
    #[serde(default = "default_stall_seconds")]
    pub stall_seconds: u64,
}

impl Config {
    /// The control plane as an agent reaches it. Its certificates name roles,
    /// not addresses.
    #[must_use]
    pub fn control(&self) -> Control {
        Control {
            otlp_endpoint: format!("https://{}", self.otlp_endpoint),
            otlp_server_name: "monitoring".to_owned(),
            renew_endpoint: format!("https://{}", self.renew_endpoint),
            renew_server_name: "provisioning".to_owned(),
        }
    }

    /// The signer as an agent reaches it, if there is one.
    #[must_use]
    pub fn signer(&self) -> Option<Signer> {
        Signer::at(&self.signer_endpoint)
    }
}

fn image<'de, D: Deserializer<'de>>(from: D) -> Result<Option<ImageRef>, D::Error> {
    let Some(text) = Option::<String>::deserialize(from)?.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    parse_image(&text)
        .map(Some)
        .ok_or_else(|| de::Error::custom("expected an image as `repository:tag@sha256:…`"))
}

fn parse_image(text: &str) -> Option<ImageRef> {
    let (name, digest) = text.split_once('@')?;
    let (repository, tag) = name
        .rsplit_once(':')
        .filter(|(_, tag)| !tag.contains('/'))?;
    let is_digest = digest
        .strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()));
    (is_digest && !repository.is_empty()).then(|| ImageRef {
        repository: repository.to_owned(),
        tag: tag.to_owned(),
        digest: digest.to_owned(),
    })
}

fn default_concurrency() -> usize {
    64
}

fn default_watch_seconds() -> u64 {
    5
}

fn default_drift_seconds() -> u64 {
    300
}

fn default_facts_seconds() -> u64 {
    3600
}

fn default_abandon_seconds() -> u64 {
    600
}

fn default_connect_seconds() -> u64 {
    15
}

fn default_call_seconds() -> u64 {
    60
}

fn default_stall_seconds() -> u64 {
    120
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_without_a_digest_is_refused() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let image = parse_image(&format!("localhost:5000/berth/agent:1@{digest}")).unwrap();
        assert_eq!(image.repository, "localhost:5000/berth/agent");
        assert_eq!((image.tag.as_str(), image.digest), ("1", digest));
        for bad in [
            "berth/agent",
            "berth/agent:1",
            "berth/agent:1@sha256:ab",
            "h:5/x@sha256:",
        ] {
            assert_eq!(parse_image(bad), None, "{bad}");
        }
    }
}
