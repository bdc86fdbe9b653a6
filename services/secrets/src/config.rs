//! Where Vault is, and who asks.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use reqwest::Url;
use secrecy::SecretString;
use serde::Deserialize;

use crate::{Error, Result, name};

/// How long a call may take where the configuration does not say.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How a service reaches Vault and who it is there.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultConfig {
    /// `https://host:port`; plain `http` only to this machine itself.
    pub address: String,
    /// PEM file with the authorities that may vouch for the server; without
    /// it, those of the operating system. Read again at every login.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// What the names of all mounts, roles and policies begin with.
    #[serde(default = "default_prefix")]
    pub mount_prefix: String,
    /// The service's role, for example `provisioning`.
    pub role: String,
    /// File (0600) with the role's secret id. Read again at every login.
    pub secret_id_file: PathBuf,
    /// DNS names and IP addresses under which others reach this service, for
    /// its certificate; `localhost` and the role's name are always in it.
    #[serde(default)]
    pub names: Vec<String>,
    /// The longest that one call may take, in seconds.
    #[serde(default = "default_timeout")]
    pub timeout_seconds: u64,
    /// How long [`crate::Vault::connect`] waits for a first login, in
    /// seconds; 0 = one attempt.
    #[serde(default)]
    pub connect_wait_seconds: u64,
}

/// How an administrator reaches Vault.
#[derive(Debug, Clone)]
pub struct AdminVault {
    /// `https://host:port`; plain `http` only to this machine itself.
    pub address: String,
    /// PEM file with the authorities that may vouch for the server.
    pub ca_file: Option<PathBuf>,
    /// A token that may mount, write policies and create roles.
    pub token: SecretString,
}

/// The part that both have: one server.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) address: Url,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) timeout: Duration,
}

impl VaultConfig {
    /// The defaults for `role` at `address`, to be changed field by field.
    pub fn new(
        address: impl Into<String>,
        ca_file: Option<PathBuf>,
        role: impl Into<String>,
        secret_id_file: impl Into<PathBuf>,
    ) -> Self {
        Self {
            address: address.into(),
            ca_file,
            mount_prefix: default_prefix(),
            role: role.into(),
            secret_id_file: secret_id_file.into(),
            names: Vec::new(),
            timeout_seconds: default_timeout(),
            connect_wait_seconds: 0,
        }
    }

    /// The server, after every field was looked at.
    pub(crate) fn server(&self) -> Result<Server> {
        name::segment("vault.mount_prefix", &self.mount_prefix)?;
        name::segment("vault.role", &self.role)?;
        for name in &self.names {
            host("vault.names", name)?;
        }
        if !(1..=300).contains(&self.timeout_seconds) {
            return Err(Error::invalid("vault.timeout_seconds", "must be 1 to 300"));
        }
        Ok(Server {
            address: parse_address(&self.address)?,
            ca_file: self.ca_file.clone(),
            timeout: Duration::from_secs(self.timeout_seconds),
        })
    }

    pub(crate) fn mounts(&self) -> Mounts {
        Mounts::new(&self.mount_prefix)
    }
}

impl AdminVault {
    pub(crate) fn server(&self) -> Result<Server> {
        Ok(Server {
            address: parse_address(&self.address)?,
            ca_file: self.ca_file.clone(),
            timeout: TIMEOUT,
        })
    }
}

/// The names of what [`crate::bootstrap`] makes.
#[derive(Debug, Clone)]
pub(crate) struct Mounts {
    prefix: String,
}

impl Mounts {
    pub(crate) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
        }
    }

    /// KV version 2.
    pub(crate) fn kv(&self) -> &str {
        &self.prefix
    }

    /// KV version 2 of the signer alone.
    pub(crate) fn keys(&self) -> String {
        format!("{}-keys", self.prefix)
    }

    /// Encryption for the signer alone.
    pub(crate) fn transit(&self) -> String {
        format!("{}-transit", self.prefix)
    }

    /// The authority for services.
    pub(crate) fn services(&self) -> String {
        format!("{}-pki-services", self.prefix)
    }

    /// The authority for placements.
    pub(crate) fn placements(&self) -> String {
        format!("{}-pki-placements", self.prefix)
    }

    /// The authority for SSH users.
    pub(crate) fn ssh(&self) -> String {
        format!("{}-ssh", self.prefix)
    }

    /// The AppRole login, below `auth/`.
    pub(crate) fn approle(&self) -> String {
        format!("{}-approle", self.prefix)
    }

    /// The policy of `role`; also its role id, which is no secret.
    pub(crate) fn role(&self, role: &str) -> String {
        format!("{}-{role}", self.prefix)
    }
}

fn default_prefix() -> String {
    "berth".to_owned()
}

fn default_timeout() -> u64 {
    TIMEOUT.as_secs()
}

/// A DNS name or an IP address, else why not.
pub(crate) fn host<'a>(field: &str, value: &'a str) -> Result<&'a str> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if value.parse::<IpAddr>().is_ok() || (value.len() <= 253 && value.split('.').all(label)) {
        return Ok(value);
    }
    Err(Error::invalid(
        field,
        "must be a DNS name or an IP address, without a port",
    ))
}

fn parse_address(text: &str) -> Result<Url> {
    let invalid = |problem: &str| Err(Error::invalid("vault.address", problem));
    let Ok(url) = Url::parse(text) else {
        return invalid("must be a URL such as https://vault.example.com:8200");
    };
    let loopback = match url.host_str() {
        None => return invalid("must name a host"),
        Some("localhost") => true,
        Some(host) => host
            .trim_matches(['[', ']'])
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.is_loopback()),
    };
    if !(url.scheme() == "https" || (url.scheme() == "http" && loopback)) {
        return invalid("must be https, or http to this machine itself");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return invalid("must hold no user or password");
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return invalid("must end after the port");
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_https_or_this_machine_and_nothing_more() {
        for good in [
            "https://vault.example.com:8200",
            "https://10.0.0.1/",
            "http://127.0.0.1:8200",
            "http://[::1]:1",
            "http://localhost:8200",
        ] {
            assert!(parse_address(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "vault:8200",
            "http://vault.example.com",
            "ftp://127.0.0.1",
            "https://u:p@h",
            "https://h/v1",
            "https://h?x",
            "data:,x",
        ] {
            assert!(parse_address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_password_in_an_address_is_not_repeated() {
        let error = parse_address("https://u:hunter2@h").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn certificate_names_are_hosts() {
        for good in ["localhost", "a.example.com", "10.0.0.1", "::1"] {
            assert!(host("names", good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a..b",
            "*.example.com",
            "-a",
            "a,b",
            "a:1",
            "a b",
            "a/b",
        ] {
            assert!(host("names", bad).is_err(), "{bad}");
        }
    }
}
