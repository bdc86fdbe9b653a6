//! The configuration file, `/etc/berth/agent.toml`, and what it may say.
//!
//! Provisioning renders it; the agent reads it with types of its own so that it
//! does not carry provisioning's code onto a machine. The golden file of the
//! renderer is parsed by the tests of both.

mod probes;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use berth_input::file;
use serde::Deserialize;
use thiserror::Error;

pub use probes::{Disk, Gpu, HttpJson, JsonRpc, Probe, Prometheus, Read, Reading};

/// Version of the format that this agent reads.
pub const SCHEMA: u32 = 1;
/// Where the file stands in the container.
pub const DEFAULT_PATH: &str = "/etc/berth/agent.toml";

const MAX_FILE: usize = 256 * 1024;
const MAX_PROBES: usize = 64;
/// Longest text of the file that is repeated in a message, in characters.
const MAX_SAID: usize = 300;

/// Why a configuration was refused. Each message names the field.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Read(std::io::Error),
    /// The text is not the format.
    #[error("{0}")]
    Syntax(String),
    /// A value is out of its bounds.
    #[error("{field}: {problem}")]
    Value {
        /// Field, as the file writes it.
        field: String,
        /// What is wrong, and what it should be.
        problem: String,
    },
}

/// The whole file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Seconds between two rounds of all probes.
    pub interval_s: u32,
    /// Bytes of samples kept while the way is cut; the oldest go first.
    pub buffer_bytes: u64,
    /// Folder that holds the volumes which disk probes look at.
    pub volumes: PathBuf,
    /// Whom the agent measures.
    pub node: NodeLabels,
    /// Where it sends.
    pub control: Control,
    /// What it carries to the signer; absent where nothing signs.
    pub signer: Option<Signer>,
    /// Who it is.
    pub identity: IdentityFiles,
    /// OTLP resource attributes.
    pub resource: BTreeMap<String, String>,
    /// What it measures.
    #[serde(default)]
    pub probes: Vec<Probe>,
}

/// Whom the agent measures, for its own logs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// Monitoring's OTLP/gRPC listener, `https://…`.
    pub otlp_endpoint: String,
    /// Name that its certificate must carry.
    pub otlp_server_name: String,
    /// Provisioning's placement listener, `https://…`.
    pub renew_endpoint: String,
    /// Name that its certificate must carry.
    pub renew_server_name: String,
}

/// The way to the signer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signer {
    /// Where the validator client asks, on the bridge.
    pub listen: SocketAddr,
    /// Duty listeners of the signer's replicas, `https://…`.
    pub endpoints: Vec<String>,
    /// Name that their certificates must carry.
    pub server_name: String,
}

/// Files of the identity, all PEM.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityFiles {
    /// Private key; the agent makes it.
    pub key_file: PathBuf,
    /// First PKCS#10 request; the agent makes it.
    pub csr_file: PathBuf,
    /// Certificate and its issuers; written by provisioning first, by the agent later.
    pub certificate_file: PathBuf,
    /// Authority of the control plane's certificates.
    pub ca_file: PathBuf,
    /// Seconds after which a certificate is renewed.
    pub renew_after_s: u32,
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// When it cannot be read or says something that this agent does not accept.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = file::text(path, MAX_FILE).map_err(ConfigError::Read)?;
        Self::parse(&text)
    }

    /// Parses and checks the text of a file.
    ///
    /// # Errors
    /// When it says something that this agent does not accept.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        ensure(text.len() <= MAX_FILE, "file", "is longer than 256 KiB")?;
        let config: Self = toml::from_str(text).map_err(|error| syntax(text, &error))?;
        config.check()?;
        Ok(config)
    }

    /// Time between two rounds of all probes.
    #[must_use]
    pub fn interval(&self) -> Duration {
        Duration::from_secs(self.interval_s.into())
    }

    /// Folder of the identity: the one place that the agent writes.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        self.identity.key_file.parent().unwrap_or(Path::new("/"))
    }

    fn check(&self) -> Result<(), ConfigError> {
        ensure(
            self.schema == SCHEMA,
            "schema",
            "must be 1; this agent reads no other",
        )?;
        ensure(
            (1..=3600).contains(&self.interval_s),
            "interval_s",
            "must be 1 to 3600",
        )?;
        ensure(
            (64 * 1024..=64 * 1024 * 1024).contains(&self.buffer_bytes),
            "buffer_bytes",
            "must be 64 KiB to 64 MiB",
        )?;
        ensure(
            self.identity.renew_after_s >= 1,
            "identity.renew_after_s",
            "must be 1 or more",
        )?;
        ensure(
            self.resource.len() <= 32,
            "resource",
            "has more than 32 attributes",
        )?;
        for (field, url) in [
            ("control.otlp_endpoint", &self.control.otlp_endpoint),
            ("control.renew_endpoint", &self.control.renew_endpoint),
        ] {
            ensure(
                url.starts_with("https://"),
                field,
                "must begin with https://",
            )?;
        }
        if let Some(signer) = &self.signer {
            let endpoints = &signer.endpoints;
            ensure(
                (1..=8).contains(&endpoints.len())
                    && endpoints.iter().all(|url| url.starts_with("https://")),
                "signer.endpoints",
                "must be 1 to 8, each beginning with https://",
            )?;
        }
        ensure(
            self.probes.len() <= MAX_PROBES,
            "probes",
            "are more than 64",
        )?;
        let mut names = BTreeSet::new();
        for probe in &self.probes {
            probe.check()?;
            ensure(
                names.insert(probe.name()),
                probe.name(),
                "is the name of two probes",
            )?;
        }
        Ok(())
    }
}

/// What the text breaks off with, and in which line, without the line itself.
fn syntax(text: &str, error: &toml::de::Error) -> ConfigError {
    let problem = plain(error.message());
    let before = error.span().and_then(|span| text.get(..span.start));
    ConfigError::Syntax(match before {
        Some(before) => format!("line {}: {problem}", before.matches('\n').count() + 1),
        None => problem,
    })
}

/// Text of a file, fit for one line of a message.
fn plain(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(MAX_SAID).collect()
}

fn ensure(holds: bool, field: &str, problem: &str) -> Result<(), ConfigError> {
    if holds {
        return Ok(());
    }
    Err(ConfigError::Value {
        field: plain(field),
        problem: problem.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str = include_str!("../../../../images/agent/golden/agent.toml");

    fn problem(text: &str) -> String {
        Config::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn the_golden_file_of_the_renderer_is_understood() {
        let config = Config::parse(GOLDEN).unwrap();
        assert_eq!(config.node.fence, 3);
        assert_eq!(config.state_dir(), Path::new("/run/berth/identity"));
        let names: Vec<_> = config.probes.iter().map(Probe::name).collect();
        assert_eq!(names, ["status", "block", "metrics", "disk", "gpu"]);
        let Probe::JsonRpc(block) = &config.probes[1] else {
            panic!("block is JSON-RPC")
        };
        assert_eq!(
            block.params,
            [serde_json::json!("latest"), serde_json::json!(false)]
        );
        assert!(config.probes[0].liveness());
    }

    #[test]
    fn an_unknown_field_is_refused_wherever_it_stands() {
        for anchor in [
            "schema = 1",
            "[node]",
            "[control]",
            "[identity]",
            "kind = \"disk\"",
        ] {
            let text = GOLDEN.replacen(anchor, &format!("{anchor}\ncolour = 1"), 1);
            assert!(problem(&text).contains("colour"), "{anchor}");
        }
    }

    #[test]
    fn the_section_of_the_signer_is_understood() {
        let section = include_str!("../../../../images/agent/golden/signer.toml");
        let text = GOLDEN.replacen("[identity]", &format!("{section}\n[identity]"), 1);
        let signer = Config::parse(&text).unwrap().signer.unwrap();
        assert_eq!(signer.listen.port(), 9000);
        assert_eq!(signer.endpoints.len(), 2);
        for (from, to) in [
            ("https://203.0.113.10:7208", "http://203.0.113.10:7208"),
            (
                "[\"https://203.0.113.9:7208\", \"https://203.0.113.10:7208\"]",
                "[]",
            ),
        ] {
            let message = problem(&text.replacen(from, to, 1));
            assert!(message.contains("signer.endpoints"), "{message}");
        }
    }

    #[test]
    fn whatever_is_wrong_is_told_in_one_short_line_with_its_place() {
        let line = |text: &str| GOLDEN[..GOLDEN.find(text).unwrap()].matches('\n').count() + 1;
        let (schema, node) = (line("schema = 1"), line("[node]") + 1);
        let long = "x".repeat(100_000);
        let (gpu, disk) = ("name = \"gpu\"", "name = \"disk\"");
        let moves = "name = \"\\u001b[2J\"";
        for (text, says) in [
            (
                GOLDEN.replacen("schema = 1", "schema = ", 1),
                &*format!("line {schema}: "),
            ),
            (
                GOLDEN.replacen("[node]", &format!("[node]\n{long} = 1"), 1),
                &format!("line {node}: "),
            ),
            (
                GOLDEN.replacen(gpu, &format!("name = \"{long}\""), 1),
                "xxx",
            ),
            (
                GOLDEN.replacen(gpu, moves, 1).replacen(disk, moves, 1),
                "two probes",
            ),
        ] {
            let problem = problem(&text);
            assert!(problem.contains(says) && problem.len() < 1024, "{problem}");
            assert!(!problem.contains(char::is_control), "{problem:?}");
        }
    }

    #[test]
    fn a_value_out_of_its_bounds_is_named() {
        let cases = [
            ("schema = 1", "schema = 2", "schema"),
            ("interval_s = 10", "interval_s = 0", "interval_s"),
            ("buffer_bytes = 4194304", "buffer_bytes = 1", "buffer_bytes"),
            (
                "https://203.0.113.9:4317",
                "http://203.0.113.9:4317",
                "control.otlp_endpoint",
            ),
            (
                "http://node:26657/status",
                "https://node/status",
                "http://host:port/path",
            ),
            ("name = \"gpu\"", "name = \"disk\"", "two probes"),
            ("volume = \"data\"", "volume = \"../etc\"", "volume"),
            ("timeout_s = 5", "timeout_s = 900", "timeout_s"),
            ("/result/number", "result/number", "pointer"),
            ("/result/number", "/result/*/number", "pointer"),
        ];
        for (from, to, named) in cases {
            let message = problem(&GOLDEN.replacen(from, to, 1));
            assert!(message.contains(named), "{to}: {message}");
        }
    }
}
