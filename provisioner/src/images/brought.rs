//! Which images Berth brought to a machine, and for which nodes: an empty file
//! each, `DIGEST/NODE` in a folder of the machine. An image goes with the last
//! node that it was brought for. What the machine's owner had before has no file.

use crate::error::Result;
use crate::files::DATA_DIR;
use crate::harden::check_digest;
use crate::spec::{Deployment, PlacementRef};
use crate::ssh::{Exec, Session, quote};
use bollard::query_parameters::RemoveImageOptionsBuilder;
use std::collections::BTreeSet;

/// Most that is read of the notes.
const MAX_NOTES: usize = 1_000_000;

fn folder() -> String {
    format!("{DATA_DIR}/.brought")
}

impl Session {
    /// Notes, before it comes, that an image is ours to remove.
    pub(super) async fn note_image(&self, whose: &PlacementRef, digest: &str) -> Result<()> {
        let (folder, digest, node) = (folder(), quote(digest), quote(&whose.node_id));
        let script = format!("set -e; mkdir -p {folder}/{digest}; touch {folder}/{digest}/{node}");
        self.effect("note image")?;
        self.root(Exec::new("noting an image", &script)).await?;
        Ok(())
    }

    /// Notes that one more node has an image, if it is one that we brought.
    pub(super) async fn share_image(&self, whose: &PlacementRef, digest: &str) -> Result<()> {
        let (folder, digest, node) = (folder(), quote(digest), quote(&whose.node_id));
        let script = format!("! test -d {folder}/{digest} || touch {folder}/{digest}/{node}; true");
        self.root(Exec::new("noting an image", &script)).await?;
        Ok(())
    }

    /// Removes what was brought for a node and nothing needs any more: images of
    /// versions that it had before. Returns their digests.
    ///
    /// # Errors
    ///
    /// Those of the session and of Docker.
    pub async fn prune_images(&self, deployment: &Deployment) -> Result<Vec<String>> {
        let wanted = deployment.containers.iter().map(|c| &c.image.digest);
        let wanted: BTreeSet<&String> = wanted.collect();
        let mut images = self.brought_images(Some(&deployment.placement)).await?;
        images.retain(|(digest, _)| !wanted.contains(digest));
        self.remove_images(images, Some(&deployment.placement))
            .await
    }

    /// Removes the images that were brought for one node, or for all.
    pub(crate) async fn remove_brought(&self, whose: Option<&PlacementRef>) -> Result<Vec<String>> {
        let images = self.brought_images(whose).await?;
        self.remove_images(images, whose).await
    }

    /// Digests of the images that were brought for a node, or for all, and
    /// whether for nobody else.
    async fn brought_images(&self, whose: Option<&PlacementRef>) -> Result<Vec<(String, bool)>> {
        let node = whose.map_or_else(String::new, |whose| quote(&whose.node_id));
        let script = format!(
            "cd {} 2>/dev/null || exit 0
             for digest in *; do
                 ! test -e \"$digest\"/{node} || echo \"$digest $(ls \"$digest\" | head -n 2 | wc -l)\"
             done | head -c {MAX_NOTES}",
            folder()
        );
        let noted = self.root(Exec::new("listing images", &script)).await?;
        let noted = String::from_utf8_lossy(&noted);
        let lines = noted.lines().filter_map(|line| line.split_once(' '));
        Ok(lines
            .filter(|(digest, _)| check_digest(digest).is_ok())
            .map(|(digest, nodes)| (digest.to_owned(), whose.is_none() || nodes == "1"))
            .collect())
    }

    /// Removes images that nobody else has and no container uses; the node has
    /// none of them any more.
    async fn remove_images(
        &self,
        images: Vec<(String, bool)>,
        whose: Option<&PlacementRef>,
    ) -> Result<Vec<String>> {
        let mut removed = Vec::new();
        if images.is_empty() {
            return Ok(removed);
        }
        let used = self.used_images().await?;
        for (digest, alone) in images {
            let id = self.image_by_digest(&digest).await?;
            if let Some(id) = id.filter(|_| alone) {
                if used.contains(&id) {
                    continue;
                }
                self.remove_image(&id).await?;
                removed.push(digest.clone());
            }
            let (folder, digest) = (folder(), quote(&digest));
            let forget = match whose.map(|whose| quote(&whose.node_id)) {
                Some(node) => format!(
                    "rm -f {folder}/{digest}/{node}; rmdir {folder}/{digest} 2>/dev/null; true"
                ),
                None => format!("rm -rf {folder}/{digest}"),
            };
            self.root(Exec::new("forgetting an image", &forget)).await?;
        }
        Ok(removed)
    }

    /// Docker's ids of the images that containers were made from, whoever did.
    async fn used_images(&self) -> Result<BTreeSet<String>> {
        let containers = self.containers("").await?;
        Ok(containers.into_iter().map(|c| c.image_id).collect())
    }

    async fn remove_image(&self, id: &str) -> Result<()> {
        let docker = &self.engine().await?.docker;
        let options = RemoveImageOptionsBuilder::new().force(true).build();
        self.effect("remove image")?;
        let remove = docker.remove_image(id, Some(options), None);
        crate::docker::gone(self.ask("remove an image", remove).await.map(drop))
    }
}
