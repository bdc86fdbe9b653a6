//! Bridge networks and volumes of a deployment.

use super::{is_conflict, is_missing, labels};
use crate::error::{Error, Result};
use crate::harden;
use crate::spec::{Deployment, LABEL_NODE, MountSource};
use crate::ssh::{Exec, Session, quote};
use bollard::models::{NetworkCreateRequest, NetworkInspect, VolumeCreateRequest};
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// What names of our bridges begin with; the firewall knows them by it.
pub(crate) const BRIDGE_PREFIX: &str = "bt-";

impl Session {
    /// Makes the deployment's bridge network unless it is there.
    ///
    /// # Errors
    ///
    /// [`Error::NotOurs`] when another has its name.
    pub async fn ensure_network(&self, deployment: &Deployment) -> Result<()> {
        let name = &deployment.network;
        harden::check_name("the network's name", name)?;
        if self.has_network(deployment).await? {
            return Ok(());
        }
        let bridge = ("com.docker.network.bridge.name".to_owned(), bridge(name));
        let request = NetworkCreateRequest {
            name: name.clone(),
            driver: Some("bridge".to_owned()),
            options: Some(HashMap::from([bridge])),
            labels: Some(labels(&deployment.placement)),
            ..NetworkCreateRequest::default()
        };
        self.effect("create network")?;
        let docker = &self.engine().await?.docker;
        let made = self.ask("create a network", docker.create_network(request));
        match made.await {
            Ok(_) => Ok(()),
            Err(taken) if is_conflict(&taken) && self.has_network(deployment).await? => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn has_network(&self, deployment: &Deployment) -> Result<bool> {
        let name = &deployment.network;
        let path = format!("/networks/{name}");
        let seen: Result<NetworkInspect> = self.look("inspect a network", &path).await;
        match seen {
            Ok(network) => {
                let labels = network.labels.unwrap_or_default();
                ours("network", name, &labels, deployment).map(|()| true)
            }
            Err(error) if is_missing(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes the deployment's volumes unless they are there, each owned by the
    /// user of the first container that writes to it.
    ///
    /// # Errors
    ///
    /// [`Error::NotOurs`] when another has a name.
    pub async fn ensure_volumes(&self, deployment: &Deployment) -> Result<()> {
        let docker = &self.engine().await?.docker;
        for name in &deployment.volumes {
            harden::check_name("the volume's name", name)?;
            let request = VolumeCreateRequest {
                name: Some(name.clone()),
                labels: Some(labels(&deployment.placement)),
                ..VolumeCreateRequest::default()
            };
            self.effect("create volume")?;
            // Docker answers with the one that is there, if there is one.
            let volume = self
                .ask("create a volume", docker.create_volume(request))
                .await?;
            ours("volume", name, &volume.labels, deployment)?;
            if let Some(owner) = writer(deployment, name) {
                let path = &volume.mountpoint;
                let script = format!("chown -h {} {}", quote(owner), quote(path));
                self.root(Exec::new("giving a volume to its user", &script))
                    .await?;
            }
        }
        Ok(())
    }
}

/// Name of the bridge interface; the kernel allows 15 characters.
fn bridge(network: &str) -> String {
    let hash = hex::encode(Sha256::digest(network));
    format!("{BRIDGE_PREFIX}{}", &hash[..10])
}

fn ours(
    kind: &str,
    name: &str,
    labels: &HashMap<String, String>,
    deployment: &Deployment,
) -> Result<()> {
    if labels.get(LABEL_NODE) == Some(&deployment.placement.node_id) {
        Ok(())
    } else {
        Err(Error::NotOurs {
            name: format!("{kind} {name}"),
        })
    }
}

/// Whoever writes to a volume first: `uid:gid`.
fn writer<'a>(deployment: &'a Deployment, volume: &str) -> Option<&'a str> {
    deployment.containers.iter().find_map(|container| {
        container
            .mounts
            .iter()
            .any(|mount| {
                !mount.read_only && matches!(&mount.source, MountSource::Volume(v) if v == volume)
            })
            .then_some(container.user.as_str())
    })
}
