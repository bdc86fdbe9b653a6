//! Which images Berth brought to a machine, and for which nodes: an empty file
//! each, `DIGEST/NODE` in a folder of the machine. An image goes with the last
//! node that it was brought for; a folder that is empty is of one that is to go.
//! What the machine's owner had before has no folder.

use crate::docker::{gone, is_conflict};
use crate::error::Result;
use crate::files::DATA_DIR;
use crate::harden::check_digest;
use crate::spec::{Deployment, PlacementRef};
use crate::ssh::{Exec, Session, quote};
use crate::wipe::WIPE;
use bollard::query_parameters::RemoveImageOptionsBuilder;
use std::collections::BTreeSet;

/// Most images that one call removes.
const MAX_IMAGES: usize = 1000;

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
        let script = format!("! test -d {folder}/{digest} || touch {folder}/{digest}/{node}");
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
        let whose = Some(&deployment.placement);
        let prune = async {
            let mut images = self.brought_images(whose).await?;
            images.retain(|digest| !wanted.contains(digest));
            self.remove_images(images, whose).await
        };
        self.together("remove images", WIPE, prune).await
    }

    /// Removes the images that were brought for one node, or for all.
    pub(crate) async fn remove_brought(&self, whose: Option<&PlacementRef>) -> Result<Vec<String>> {
        let images = self.brought_images(whose).await?;
        self.remove_images(images, whose).await
    }

    /// Digests of the images that were brought for a node and of those that are to
    /// go, or of all.
    async fn brought_images(&self, whose: Option<&PlacementRef>) -> Result<Vec<String>> {
        let which = whose.map_or_else(
            || "true".to_owned(),
            |whose| format!("test -e \"$digest\"/{}", quote(&whose.node_id)),
        );
        let script = format!(
            "cd {} 2>/dev/null || exit 0
             for digest in *; do
                 if {which} || ! ls -A \"$digest\" | grep -q .; then echo \"$digest\"; fi
             done | head -n {MAX_IMAGES}",
            folder()
        );
        let noted = self.root(Exec::new("listing images", &script)).await?;
        let noted = String::from_utf8_lossy(&noted);
        let digests = noted.lines().filter(|digest| check_digest(digest).is_ok());
        Ok(digests.map(str::to_owned).collect())
    }

    /// Removes images that nobody else has and no container uses; the node has
    /// none of them any more. What is in use goes with a later call.
    async fn remove_images(
        &self,
        digests: Vec<String>,
        whose: Option<&PlacementRef>,
    ) -> Result<Vec<String>> {
        let mut removed = Vec::new();
        if digests.is_empty() {
            return Ok(removed);
        }
        let images = self.images().await?;
        for digest in digests {
            if !self.forget_image(&digest, whose).await? {
                continue;
            }
            if let Some(image) = images.iter().find(|image| image.is(&digest)) {
                // Somebody may have begun to use it since the last one went.
                if self.used_images().await?.contains(&image.id)
                    || !self.remove_image(&image.id).await?
                {
                    continue;
                }
                removed.push(digest.clone());
            }
            let gone = format!("rmdir {}/{} 2>/dev/null; true", folder(), quote(&digest));
            self.root(Exec::new("forgetting an image", &gone)).await?;
        }
        Ok(removed)
    }

    /// Takes away the note of a node, or all notes of an image. Returns whether
    /// nobody has it now; of two nodes that go at once one hears that.
    async fn forget_image(&self, digest: &str, whose: Option<&PlacementRef>) -> Result<bool> {
        let node = whose.map_or_else(|| "*".to_owned(), |whose| quote(&whose.node_id));
        let script = format!(
            "cd {}/{} 2>/dev/null || exit 0; exec 9<.; flock -w 30 9 || exit 1
             rm -f -- {node}; ls -A | grep -q . || echo nobody",
            folder(),
            quote(digest)
        );
        let said = self.root(Exec::new("forgetting an image", &script)).await?;
        Ok(said.starts_with(b"nobody"))
    }

    /// Docker's ids of the images that containers were made from, whoever did.
    async fn used_images(&self) -> Result<BTreeSet<String>> {
        let containers = self.containers("").await?;
        Ok(containers.into_iter().map(|c| c.image_id).collect())
    }

    /// Removes an image; returns whether Docker let it go.
    async fn remove_image(&self, id: &str) -> Result<bool> {
        let docker = &self.engine().await?.docker;
        let options = RemoveImageOptionsBuilder::new().force(true).build();
        self.effect("remove image")?;
        let remove = docker.remove_image(id, Some(options), None);
        match gone(self.ask("remove an image", remove).await.map(drop)) {
            // Of its owner's: a container that runs, or an image that builds on it.
            Err(error) if is_conflict(&error) => Ok(false),
            done => done.map(|()| true),
        }
    }
}
