//! A stored chain as what its text means. The one place where the two meet.

use crate::domain::{Chain, Role, Share};
use berth_core::{Error, Result};
use berth_provisioner::chain::{self, ChainEntry};
use berth_provisioner::spec::Exposure;
use chrono::TimeDelta;

/// Reads the text of a stored chain, which was checked before it was stored.
///
/// # Errors
///
/// [`Error::Internal`] when it does not parse any more.
pub fn entry(chain: &Chain) -> Result<ChainEntry> {
    ChainEntry::parse(&chain.chain_toml).map_err(Error::internal)
}

/// A role in the words of the catalogue.
#[must_use]
pub fn role(role: Role) -> chain::Role {
    match role {
        Role::Validator => chain::Role::Validator,
        Role::Full => chain::Role::Full,
        Role::Archive => chain::Role::Archive,
        Role::Sentry => chain::Role::Sentry,
        Role::Bridge => chain::Role::Bridge,
        Role::Prover => chain::Role::Prover,
        Role::Light => chain::Role::Light,
    }
}

/// What a node of a role takes of its machine: the limits of its components,
/// but for the agent, which is small, and its ports with an offset.
#[must_use]
pub fn share(entry: &ChainEntry, role: chain::Role, offset: u16) -> Share {
    let mut share = Share::default();
    for component in entry.components_of(role) {
        let memory = i64::try_from(component.memory.0).unwrap_or(i64::MAX);
        share.cpu_millis = share.cpu_millis.saturating_add(component.cpu_millis.into());
        share.memory_bytes = share.memory_bytes.saturating_add(memory);
        let ports = entry
            .ports
            .iter()
            .filter(|port| port.component == component.name && port.exposure != Exposure::Private);
        share.ports.extend(ports.map(|port| {
            let number = u32::from(port.number) + u32::from(offset);
            format!("{}:{number}", port.protocol.name())
        }));
    }
    share.gpus = i32::try_from(entry.gpus(role)).unwrap_or(i32::MAX);
    share
}

/// How long the containers of a role get to stop, one after the other.
#[must_use]
pub fn stops(entry: &ChainEntry, role: chain::Role) -> TimeDelta {
    let each = entry.components_of(role).map(|c| c.stop_timeout_s);
    TimeDelta::seconds(each.map(i64::from).sum())
}

/// How long a node has to become healthy with this entry.
#[must_use]
pub fn gate(entry: &ChainEntry) -> TimeDelta {
    TimeDelta::seconds(entry.upgrade.gate_s.into())
}

/// Whether a version can read what another one leaves on the volumes.
#[must_use]
pub fn reads(version: &str, left_by: &ChainEntry) -> bool {
    let readers = &left_by.upgrade.rollback_to;
    version == left_by.version || readers.iter().any(|reader| reader == version)
}
