//! Takes everything of Berth's off a machine, and looks whether it is gone.
//!
//! What is not Berth's is left: other containers and images, Docker itself,
//! nftables, and the sign-in that the supplier set up.

use crate::docker::gone;
use crate::error::{Error, Result};
use crate::files::{DATA_DIR, OWNER, SECRETS_DIR, node_dir, secrets_dir};
use crate::firewall::TABLE;
use crate::spec::PlacementRef;
use crate::ssh::{Exec, Session};
use bollard::query_parameters::RemoveVolumeOptionsBuilder;

/// How many calls a wipe may take the time of; the next one goes on where it ended.
pub(crate) const WIPE: u32 = 5;

/// What a wipe removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WipeReport {
    /// Containers, by name.
    pub containers: Vec<String>,
    /// Volumes, by name.
    pub volumes: Vec<String>,
    /// Networks, by name.
    pub networks: Vec<String>,
    /// Images, by digest.
    pub images: Vec<String>,
    /// Files, secret and not.
    pub files: u64,
}

impl Session {
    /// Removes all of one placement's node: containers, volumes, networks,
    /// secrets, files, its ports in the firewall, and images that were brought for
    /// it alone and that nothing else uses. Looks again afterwards.
    ///
    /// # Errors
    ///
    /// [`Error::Fenced`] when the node stands there under a newer fence,
    /// [`Error::Unwiped`] when something is left.
    pub async fn wipe_placement(&self, placement: &PlacementRef) -> Result<WipeReport> {
        let wipe = self.remove_placement(placement);
        self.together("wipe a node", WIPE, wipe).await
    }

    async fn remove_placement(&self, placement: &PlacementRef) -> Result<WipeReport> {
        let node = Some(placement.node_id.as_str());
        let mut report = WipeReport::default();
        let mut folders = vec![node_dir(placement)?, secrets_dir(placement)?];
        folders.extend(self.older_secrets(placement).await?);
        let mut found = Vec::new();
        for id in self.container_ids(node).await? {
            let Some(container) = self.inspect(&id).await? else {
                continue;
            };
            if container.fence > placement.fence {
                return Err(Error::Fenced {
                    have: container.fence,
                    want: placement.fence,
                });
            }
            found.push((id, container.name));
        }
        for (id, name) in found {
            self.delete(&id).await?;
            report.containers.push(name);
        }
        self.remove_networks_and_volumes(node, &mut report).await?;
        report.images = self.remove_brought(Some(placement)).await?;
        report.files = self.count_files(&folders).await?;
        let remove = format!("rm -rf {}", folders.join(" "));
        self.replace_rules(&remove, &[]).await?;
        self.verify(node, &folders).await?;
        Ok(report)
    }

    /// Removes all that Berth ever brought to the machine, of any node, and the
    /// firewall table. Sign-in, Docker and nftables stay.
    ///
    /// # Errors
    ///
    /// [`Error::Unwiped`] when something is left.
    pub async fn wipe_machine(&self) -> Result<WipeReport> {
        let wipe = self.remove_everything();
        self.together("wipe the machine", WIPE, wipe).await
    }

    async fn remove_everything(&self) -> Result<WipeReport> {
        let mut report = WipeReport::default();
        for id in self.container_ids(None).await? {
            // Its labels may be spoilt; then its id must do.
            let name = match self.inspect(&id).await {
                Ok(Some(container)) => container.name,
                Ok(None) => continue,
                Err(Error::Answer { .. }) => id.clone(),
                Err(error) => return Err(error),
            };
            self.delete(&id).await?;
            report.containers.push(name);
        }
        self.remove_networks_and_volumes(None, &mut report).await?;
        report.images = self.remove_brought(None).await?;
        self.drop_rules().await?;
        let folders = [DATA_DIR.to_owned(), SECRETS_DIR.to_owned()];
        report.files = self.count_files(&folders).await?;
        self.effect("remove files")?;
        let script = format!(
            "find {} -xdev -mindepth 1 -delete 2>/dev/null; true",
            folders.join(" ")
        );
        self.root(Exec::new("removing files", &script)).await?;
        let inside: Vec<String> = folders.iter().map(|f| format!("{f}/*")).collect();
        self.verify(None, &inside).await?;
        Ok(report)
    }

    async fn remove_networks_and_volumes(
        &self,
        node: Option<&str>,
        report: &mut WipeReport,
    ) -> Result<()> {
        let docker = &self.engine().await?.docker;
        for name in self.network_names(node).await? {
            self.effect("remove network")?;
            let remove = docker.remove_network(&name);
            gone(self.ask("remove a network", remove).await)?;
            report.networks.push(name);
        }
        for name in self.volume_names(node).await? {
            let options = RemoveVolumeOptionsBuilder::new().force(true).build();
            self.effect("remove volume")?;
            let remove = docker.remove_volume(&name, Some(options));
            gone(self.ask("remove a volume", remove).await)?;
            report.volumes.push(name);
        }
        Ok(())
    }

    /// Folders of secrets of the node's other placements, which a machine that
    /// was away may still hold.
    async fn older_secrets(&self, placement: &PlacementRef) -> Result<Vec<String>> {
        let node = &placement.node_id;
        let script = format!("grep -lxF {node} {SECRETS_DIR}/*/{OWNER} 2>/dev/null; true");
        let found = self.root(Exec::new("looking for secrets", &script)).await?;
        let found = String::from_utf8_lossy(&found);
        let placements = found.lines().filter_map(|path| path.split('/').nth_back(1));
        placements
            .map(|id| {
                secrets_dir(&PlacementRef {
                    placement_id: id.to_owned(),
                    ..placement.clone()
                })
            })
            .collect()
    }

    /// Delivered files; the path of our own notes has a dot.
    async fn count_files(&self, folders: &[String]) -> Result<u64> {
        const WHAT: &str = "counting files";
        let script = format!(
            "find {} -type f ! -path '*/.*' 2>/dev/null | wc -l",
            folders.join(" ")
        );
        let count = self.root(Exec::new(WHAT, &script)).await?;
        let count = String::from_utf8_lossy(&count);
        count
            .trim()
            .parse()
            .map_err(|_| Error::answer(WHAT, "not a number"))
    }

    /// Fails when anything is left of one node, or of all.
    async fn verify(&self, node: Option<&str>, paths: &[String]) -> Result<()> {
        let mut left = Vec::new();
        for (kind, names) in [
            ("container", self.container_ids(node).await?),
            ("network", self.network_names(node).await?),
            ("volume", self.volume_names(node).await?),
        ] {
            left.extend(names.iter().map(|name| format!("{kind} {name}")));
        }
        let mut script = format!("ls -d {} 2>/dev/null | head -n 20; true", paths.join(" "));
        if node.is_none() {
            script += &format!(
                "; PATH=$PATH:/usr/sbin:/sbin; ! nft list table {TABLE} >/dev/null 2>&1 || echo 'the firewall'"
            );
        }
        let listed = self.root(Exec::new("looking at files", &script)).await?;
        let listed = String::from_utf8_lossy(&listed);
        left.extend(listed.lines().map(crate::error::said));
        if left.is_empty() {
            Ok(())
        } else {
            Err(Error::Unwiped { left })
        }
    }
}
