//! Making, starting, stopping and removing containers under a fence.
//!
//! Each call looks first whose the container is. It then acts on Docker's own
//! id, so that a container that took the name in between is not touched.

use super::read::check_named;
use super::{compare, gone, is_conflict, is_missing, observe::describe};
use crate::docker::ObservedContainer;
use crate::error::{Error, Result};
use crate::harden;
use crate::spec::{ContainerSpec, LABEL_NODE, PlacementRef};
use crate::ssh::Session;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, StartContainerOptions,
    StopContainerOptionsBuilder,
};
use std::time::Duration;

/// How often, and how long apart, a container is looked for whose name is taken.
const TAKEN_LOOKS: u32 = 50;
const TAKEN_PAUSE: Duration = Duration::from_millis(100);

/// What `ensure_container` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ensured {
    /// It stood there as wanted.
    Adopted,
    /// It was made.
    Created,
    /// One of an older fence or another specification was removed and this one made.
    Replaced,
}

/// A container of this node, and Docker's id of it.
struct Found {
    id: String,
    seen: ObservedContainer,
}

impl Session {
    /// Makes a container, or adopts the one that stands there. It is not started.
    ///
    /// A container of an older fence or another specification is replaced.
    ///
    /// # Errors
    ///
    /// [`Error::Fenced`] when one of a newer fence stands there,
    /// [`Error::NotOurs`] when it is not this node's, [`Error::NoImage`] when
    /// the image was not delivered, [`Error::Invalid`].
    pub async fn ensure_container(
        &self,
        placement: &PlacementRef,
        spec: &ContainerSpec,
        network: &str,
    ) -> Result<Ensured> {
        harden::check_container(placement, spec)?;
        let hash = harden::spec_hash(spec, network);
        let wanted = |found: &Found| {
            found.seen.fence == placement.fence
                && found.seen.placement_id == placement.placement_id
                && found.seen.spec_hash == hash
        };
        let done = match self.find(placement, &spec.name).await? {
            Some(found) if wanted(&found) => return Ok(Ensured::Adopted),
            Some(found) => {
                self.delete(&found.id).await?;
                Ensured::Replaced
            }
            None => Ensured::Created,
        };
        let Some(image) = self.image_id(&spec.image).await? else {
            return Err(undelivered(spec));
        };
        let body = harden::container(placement, spec, network, &image);
        let options = CreateContainerOptionsBuilder::new()
            .name(&spec.name)
            .build();
        self.effect("create container")?;
        let docker = &self.engine().await?.docker;
        let create = Box::pin(docker.create_container(Some(options), body));
        let created = self.ask("create a container", create).await;
        match created {
            Ok(_) => Ok(done),
            // Another worker, or a call of ours whose answer was lost.
            Err(taken) if is_conflict(&taken) => match self.await_taken(placement, spec).await? {
                Some(found) if wanted(&found) => Ok(Ensured::Adopted),
                _ => Err(taken),
            },
            // It went with the last other node that had it, a moment ago.
            Err(missing) if is_missing(&missing) => match self.image_id(&spec.image).await? {
                Some(_) => Err(missing),
                None => Err(undelivered(spec)),
            },
            Err(error) => Err(error),
        }
    }

    /// The container that took a name. Docker gives a name away before it
    /// shows the container.
    async fn await_taken(
        &self,
        placement: &PlacementRef,
        spec: &ContainerSpec,
    ) -> Result<Option<Found>> {
        for _ in 0..TAKEN_LOOKS {
            if let Some(found) = self.find(placement, &spec.name).await? {
                return Ok(Some(found));
            }
            tokio::time::sleep(TAKEN_PAUSE).await;
        }
        Ok(None)
    }

    /// Starts a container; nothing when it runs.
    ///
    /// # Errors
    ///
    /// [`Error::Fenced`] when it belongs to a newer fence, [`Error::Docker`]
    /// when it is not there or cannot start: a port that is taken, a secret
    /// that a reboot took.
    pub async fn start(&self, placement: &PlacementRef, name: &str) -> Result<()> {
        let Some(found) = self.find(placement, name).await? else {
            return Err(Error::Docker {
                what: "start a container",
                status: Some(404),
                message: format!("{name} is not there"),
            });
        };
        self.effect("start container")?;
        let docker = &self.engine().await?.docker;
        let start = docker.start_container(&found.id, None::<StartContainerOptions>);
        self.ask("start a container", start).await
    }

    /// Stops a container, by force after the time-out; nothing when it does not
    /// run or is not there.
    ///
    /// # Errors
    ///
    /// [`Error::Fenced`] when it belongs to a newer fence.
    pub async fn stop(
        &self,
        placement: &PlacementRef,
        name: &str,
        timeout: Duration,
    ) -> Result<()> {
        let Some(found) = self.find(placement, name).await? else {
            return Ok(());
        };
        let seconds = i32::try_from(timeout.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::new().t(seconds).build();
        self.effect("stop container")?;
        let docker = self.engine().await?.docker.clone();
        // bollard's own limit ends at the answer, which comes when it is down.
        let limit = timeout + self.config().call_timeout;
        let docker = docker.with_timeout(limit);
        let stop = docker.stop_container(&found.id, Some(options));
        let stopped = self.ask_within("stop a container", limit, stop).await;
        gone(stopped)
    }

    /// Removes a container, running or not; nothing when it is not there.
    ///
    /// # Errors
    ///
    /// [`Error::Fenced`] when it belongs to a newer fence.
    pub async fn remove(&self, placement: &PlacementRef, name: &str) -> Result<()> {
        match self.find(placement, name).await? {
            Some(found) => self.delete(&found.id).await,
            None => Ok(()),
        }
    }

    /// Sets the limits of a container as its specification has them, while it
    /// runs.
    ///
    /// # Errors
    ///
    /// [`Error::Fenced`] when it belongs to a newer fence, [`Error::Docker`]
    /// when Docker refuses: it uses more memory than that already.
    pub async fn limit(&self, placement: &PlacementRef, spec: &ContainerSpec) -> Result<()> {
        harden::check_container(placement, spec)?;
        let Some(found) = self.find(placement, &spec.name).await? else {
            return Ok(());
        };
        let limits = compare::limits(spec, self.kernel().await?);
        self.effect("limit container")?;
        let docker = &self.engine().await?.docker;
        let update = docker.update_container(&found.id, limits);
        gone(self.ask("limit a container", update).await)
    }

    /// Removes a container by Docker's id or name, whoever's it is.
    pub(crate) async fn delete(&self, id: &str) -> Result<()> {
        let options = RemoveContainerOptionsBuilder::new()
            .force(true)
            .v(true)
            .build();
        self.effect("remove container")?;
        let docker = &self.engine().await?.docker;
        let remove = docker.remove_container(id, Some(options));
        gone(self.ask("remove a container", remove).await)
    }

    /// The container of this name, when it is this node's and of no newer fence.
    async fn find(&self, placement: &PlacementRef, name: &str) -> Result<Option<Found>> {
        harden::check_name("the container's name", name)?;
        let inspected = match self.inspected(name).await {
            Ok(inspected) => inspected,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let node = inspected
            .config
            .as_ref()
            .and_then(|c| c.labels.as_ref())
            .and_then(|labels| labels.get(LABEL_NODE));
        if node != Some(&placement.node_id) {
            return Err(Error::NotOurs {
                name: format!("container {name}"),
            });
        }
        let id = inspected.id.clone().unwrap_or_default();
        check_named("inspect a container", &id)?;
        let seen = describe(inspected)?;
        if seen.fence > placement.fence {
            return Err(Error::Fenced {
                have: seen.fence,
                want: placement.fence,
            });
        }
        Ok(Some(Found { id, seen }))
    }
}

fn undelivered(spec: &ContainerSpec) -> Error {
    Error::NoImage {
        image: spec.image.to_string(),
        why: "it was not delivered yet".to_owned(),
    }
}
