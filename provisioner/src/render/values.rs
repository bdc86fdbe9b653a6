//! The value of each placeholder for one component.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::agent::{SIGNER, SIGNER_PORT};
use super::{Launch, RenderError};
use crate::chain::Component;
use crate::chain::template::{SIGNER_URL, is_safe, signs};
use crate::spec::Exposure;

/// Every value that `chain::template::known` names.
pub(super) fn of(
    launch: &Launch<'_>,
    settings: &BTreeMap<String, String>,
    component: &Component,
) -> Result<BTreeMap<String, String>, RenderError> {
    let entry = launch.entry;
    if !is_safe(launch.node_name) || launch.node_name.len() > crate::chain::MAX_VALUE {
        return Err(RenderError::Unusable("name of the node"));
    }
    let mut values = BTreeMap::new();
    let mut put = |name: &str, value: String| values.insert(name.to_owned(), value);
    put("chain.name", entry.name.clone());
    put("chain.id", entry.chain_id.clone());
    put("node.name", launch.node_name.to_owned());
    put("node.id", launch.placement.node_id.clone());
    put("machine.address", address(launch.machine_address)?);
    put("bootstrap.peers", entry.bootstrap.peers.join(","));
    put("bootstrap.seeds", entry.bootstrap.seeds.join(","));
    for (name, value) in settings {
        put(&format!("settings.{name}"), value.clone());
    }
    for (name, value) in &entry.pinned {
        put(&format!("pinned.{name}"), value.clone());
    }
    for port in &entry.ports {
        put(&format!("port.{}", port.name), port.number.to_string());
        if port.exposure != Exposure::Private {
            let number = host_port(port.number, launch.port_offset)?;
            put(&format!("host_port.{}", port.name), number.to_string());
        }
    }
    if signs(entry, component) {
        put(SIGNER_URL, format!("http://{SIGNER}:{SIGNER_PORT}"));
    }
    for (name, path) in &component.volumes {
        put(&format!("volume.{name}"), path.clone());
    }
    for secret in &entry.secrets {
        if secret.components.contains(&component.name) {
            let path = format!("{}/{}", component.secrets_dir, secret.file);
            put(&format!("secret.{}", secret.name), path);
        }
    }
    Ok(values)
}

/// Number on the machine.
pub(super) fn host_port(number: u16, offset: u16) -> Result<u16, RenderError> {
    number
        .checked_add(offset)
        .ok_or(RenderError::Port { number, offset })
}

/// A host name or IP address as it stands before `:port`.
fn address(text: &str) -> Result<String, RenderError> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(match ip {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        });
    }
    let name = !text.is_empty()
        && text.len() <= 253
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'));
    if name {
        Ok(text.to_owned())
    } else {
        Err(RenderError::Unusable("address of the machine"))
    }
}
