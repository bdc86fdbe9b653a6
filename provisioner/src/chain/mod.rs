//! A chain's entry in the catalogue, `chain.toml`: schema, parser and checks.
//!
//! Pure values, but for the making of secrets. Nothing here fetches an image, a
//! genesis or a digest.

mod check;
mod edit;
mod entry;
mod error;
mod pinned;
pub mod probe;
mod secret;
mod settings;
pub(crate) mod template;
mod units;
mod upgrade;

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

pub use edit::{BootstrapChange, EditError, pin, with_bootstrap};
pub use entry::{
    ApiKind, Bootstrap, ChainApi, ChainEntry, Component, Custody, Duty, FileEntry, Genesis, Health,
    Image, PortEntry, Purpose, Requirements, Role, SecretEntry, Setting, SettingKind, Source,
    UnknownRole,
};
pub use error::{Invalid, Problem};
pub use pinned::{Fork, Pinned};
pub use secret::{NoEntropy, SecretKind};
pub use settings::{MAX_VALUE, SettingProblem};
pub use units::Bytes;
pub use upgrade::Upgrade;

/// Version of the format that this code reads.
pub const SCHEMA: u32 = 1;
/// Longest `chain.toml`, in bytes.
pub const MAX_TEXT: usize = 256 * 1024;

impl ChainEntry {
    /// Reads an entry and checks all of it.
    ///
    /// # Errors
    ///
    /// The first misspelt or missing field; in a text of the right shape, every
    /// value that does not fit.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.len() > MAX_TEXT {
            return Err(error::whole(
                &format!("longer than {MAX_TEXT} bytes"),
                "large files such as a genesis are registered beside the entry",
            ));
        }
        let entry: Self = toml::from_str(text).map_err(|e| error::misshapen(text, &e))?;
        check::check(&entry).finish(text)?;
        Ok(entry)
    }

    /// Roles that can be launched.
    #[must_use]
    pub fn roles(&self) -> BTreeSet<Role> {
        self.requirements.keys().copied().collect()
    }

    /// Components of a role, in the order in which they start.
    pub fn components_of(&self, role: Role) -> impl Iterator<Item = &Component> {
        self.components
            .iter()
            .filter(move |c| c.roles.contains(&role))
    }

    /// GPUs that a node of a role uses.
    #[must_use]
    pub fn gpus(&self, role: Role) -> u32 {
        self.components_of(role).map(|c| c.gpus).sum()
    }

    /// The port of the node's own API, where the entry names one.
    #[must_use]
    pub fn api_port(&self) -> Option<&PortEntry> {
        let api = self.api.as_ref()?;
        self.ports.iter().find(|port| port.name == api.port)
    }

    /// Secrets that a node of a role needs.
    pub fn secrets_of(&self, role: Role) -> impl Iterator<Item = &SecretEntry> {
        self.secrets.iter().filter(move |secret| {
            self.components_of(role)
                .any(|c| secret.components.contains(&c.name))
        })
    }

    /// Probes that make sense for a role: of its components, volumes and GPUs.
    #[must_use]
    pub fn probes_of(&self, role: Role) -> Vec<probe::Probe> {
        let makes_sense = |probe: &&probe::Probe| match (probe.url(), probe.volume()) {
            (Some(url), _) => self.components_of(role).any(|c| {
                url.strip_prefix("http://")
                    .and_then(|rest| rest.strip_prefix(c.name.as_str()))
                    .is_some_and(|rest| rest.starts_with(':'))
            }),
            (None, Some(volume)) => self
                .components_of(role)
                .any(|c| c.volumes.contains_key(volume)),
            (None, None) => self.gpus(role) > 0,
        };
        self.probes.iter().filter(makes_sense).cloned().collect()
    }

    /// Nothing when nodes can be launched, else why not, one reason each.
    #[must_use]
    pub fn obstacles(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.custody != Custody::RemoteSigner && self.roles().contains(&Role::Validator) {
            reasons.push(
                "custody: its validators keep what they sign with on the machine, and Berth puts \
                 no such key there"
                    .to_owned(),
            );
        }
        for component in &self.components {
            if component.image.digest.is_none() {
                reasons.push(match &component.image.build {
                    Some(recipe) => format!(
                        "the image of component `{}` has no digest: build `{recipe}` and register the chain again",
                        component.name
                    ),
                    None => format!(
                        "the image of component `{}` has no digest: run `berth chain pin`",
                        component.name
                    ),
                });
            }
        }
        let wanted = self.files.iter().any(|f| f.source == Some(Source::Genesis));
        let known = self.bootstrap.genesis.as_ref().map(|g| g.sha256.is_some());
        if wanted && known != Some(true) {
            reasons.push(
                "the genesis is not known: register the chain with `--genesis FILE`".to_owned(),
            );
        }
        reasons
    }

    /// Whether nodes can be launched.
    ///
    /// # Errors
    ///
    /// Why not, for people.
    pub fn launchable(&self) -> Result<(), String> {
        let reasons = self.obstacles();
        if reasons.is_empty() {
            Ok(())
        } else {
            Err(reasons.join("; "))
        }
    }

    /// Checks the files that are registered beside the entry, by name.
    ///
    /// # Errors
    ///
    /// What is missing, not asked for, or not what its SHA-256 says.
    pub fn check_files(&self, files: &BTreeMap<String, Vec<u8>>) -> Result<(), String> {
        let genesis = self.bootstrap.genesis.as_ref();
        if let Some(name) = files.keys().find(|n| genesis.is_none_or(|g| g.file != **n)) {
            let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
            return Err(format!("the entry names no file `{name}`"));
        }
        let Some((genesis, wanted)) = genesis.and_then(|g| Some((g, g.sha256.as_deref()?))) else {
            return Ok(());
        };
        let contents = files
            .get(&genesis.file)
            .ok_or_else(|| format!("the file `{}` is missing", genesis.file))?;
        let seen = hex::encode(Sha256::digest(contents));
        if seen == wanted {
            Ok(())
        } else {
            Err(format!(
                "the file `{}` has SHA-256 {seen}, the entry says {wanted}",
                genesis.file
            ))
        }
    }
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
