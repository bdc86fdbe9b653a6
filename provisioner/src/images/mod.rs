//! Image delivery: by digest from a registry that the machine reaches, else
//! from an OCI layout of ours through the SSH session.
//!
//! The digest is checked by Docker as it pulls, whatever the source. Absent on
//! purpose: `docker load`, which sends everything each time and leaves an image
//! that does not know its digest.

mod brought;
pub mod layout;
mod progress;
pub(crate) mod registry;

use crate::error::{Error, Result};
use crate::harden::check_digest;
use crate::spec::{ImageRef, PlacementRef};
use crate::ssh::Session;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures::StreamExt;
use layout::Layout;
use progress::Progress;
use registry::Offer;
use std::path::PathBuf;
use std::time::Duration;

/// The only address of a machine that is offered something, and by it only.
const LOOPBACK: &str = "127.0.0.1";
/// Longest pull, also of one that goes on a little now and then.
const PULL: Duration = Duration::from_hours(6);
/// Longest repository name.
const MAX_REPOSITORY: usize = 255;

/// Where an image may come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageSource {
    /// Its own registry, pulled by the machine.
    Registry,
    /// An OCI image layout in a folder of ours.
    Layout(PathBuf),
}

impl Session {
    /// Brings an image of a node to the machine from the first source that has it.
    /// `progress` hears a percentage and a line for people.
    ///
    /// # Errors
    ///
    /// [`Error::NoImage`] when no source has it, [`Error::DigestMismatch`] when
    /// ours is not what it says, [`Error::NoSpace`].
    pub async fn ensure_image(
        &self,
        whose: &PlacementRef,
        image: &ImageRef,
        sources: &[ImageSource],
        progress: impl Fn(u8, &str) + Send + Sync,
    ) -> Result<()> {
        check_digest(&image.digest)?;
        check_repository(&image.repository)?;
        if self.image_id(image).await?.is_some() {
            // Only then: whoever brought it has noted it before.
            self.share_image(whose, &image.digest).await?;
            progress(100, "the image is there");
            return Ok(());
        }
        self.note_image(whose, &image.digest).await?;
        let mut failures = Vec::new();
        for source in sources {
            let delivered = match source {
                ImageSource::Registry => self.pull(&image.repository, image, &progress).await,
                ImageSource::Layout(dir) => {
                    let offer = Layout::open(dir)?.offer(&image.digest).await;
                    match offer {
                        Ok(offer) => self.pull_offer(offer, image, &progress).await,
                        Err(error) => Err(error),
                    }
                }
            };
            match delivered {
                Ok(()) if self.image_id(image).await?.is_some() => return Ok(()),
                Ok(()) => failures.push("Docker pulled something else".to_owned()),
                // The next source may do better.
                Err(error @ (Error::NoImage { .. } | Error::Docker { .. })) => {
                    failures.push(error.to_string());
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::NoImage {
            image: image.to_string(),
            why: failures.join("; "),
        })
    }

    /// Docker's id of an image, when it is on the machine.
    pub(crate) async fn image_id(&self, image: &ImageRef) -> Result<Option<String>> {
        self.image_by_digest(&image.digest).await
    }

    pub(crate) async fn image_by_digest(&self, digest: &str) -> Result<Option<String>> {
        let images = self.images().await?;
        let found = images.into_iter().find(|image| image.is(digest));
        Ok(found.map(|image| image.id))
    }

    /// Pulls from a registry of ours that only this machine sees, only now, and
    /// that holds only this image.
    async fn pull_offer(
        &self,
        offer: Offer,
        image: &ImageRef,
        progress: &(impl Fn(u8, &str) + Sync),
    ) -> Result<()> {
        self.effect("offer image")?;
        let limit = self.config().call_timeout;
        let forward = async {
            let port = self.link().tcpip_forward(LOOPBACK, 0).await;
            port.map_err(|_| Error::NoImage {
                image: image.to_string(),
                why: "sshd forwards no ports; allow it with `AllowTcpForwarding yes`".to_owned(),
            })
        };
        let port = self.within("forward a port", limit, forward).await?;
        let offered = self.forwards().offer(port, offer);
        let name = image.repository.replace(':', "-");
        let pulled = self
            .pull(&format!("{LOOPBACK}:{port}/{name}"), image, progress)
            .await;
        drop(offered);
        // Without the offer a port that stays open is a dead end.
        let cancel = self.link().cancel_tcpip_forward(LOOPBACK, port);
        tokio::time::timeout(limit, cancel).await.ok();
        pulled
    }

    async fn pull(
        &self,
        repository: &str,
        image: &ImageRef,
        progress: &(impl Fn(u8, &str) + Sync),
    ) -> Result<()> {
        const WHAT: &str = "pull an image";
        let options = CreateImageOptionsBuilder::new()
            .from_image(repository)
            .tag(&image.digest)
            .build();
        self.effect("pull image")?;
        let docker = &self.engine().await?.pulls;
        let mut steps = std::pin::pin!(docker.create_image(Some(options), None, None));
        let mut seen = Progress::default();
        let stall = self.config().stall_timeout;
        let all = async {
            while let Some(step) = self
                .within(WHAT, stall, async { Ok(steps.next().await) })
                .await?
            {
                let step = step.map_err(|error| self.docker_error(WHAT, &error))?;
                if let Some((percent, text)) = seen.step(&step) {
                    progress(percent, &text);
                }
            }
            Ok(())
        };
        self.within(WHAT, PULL, all).await?;
        progress(100, "the image is there");
        Ok(())
    }
}

fn check_repository(repository: &str) -> Result<()> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_./:".contains(&b);
    if (1..=MAX_REPOSITORY).contains(&repository.len()) && repository.bytes().all(plain) {
        Ok(())
    } else {
        Err(Error::invalid(
            "the image's repository",
            "expected a name such as `ghcr.io/cosmos/gaia`",
        ))
    }
}
