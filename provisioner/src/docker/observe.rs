//! Reading what stands on a machine.

use super::{is_missing, of_node};
use crate::error::{Error, Result, said};
use crate::spec::{
    LABEL_COMPONENT, LABEL_FENCE, LABEL_IMAGE, LABEL_PLACEMENT, LABEL_SPEC, PlacementRef,
};
use crate::ssh::Session;
use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum};
use bollard::query_parameters::{
    InspectContainerOptions, ListContainersOptionsBuilder, ListNetworksOptionsBuilder,
    ListVolumesOptionsBuilder,
};

/// What stands on a machine for one node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// Containers, by name.
    pub containers: Vec<ObservedContainer>,
    /// Names of volumes.
    pub volumes: Vec<String>,
    /// Names of networks.
    pub networks: Vec<String>,
    /// Paths of delivered files: the node's, and the placement's secrets.
    pub files: Vec<String>,
}

/// A container as the machine describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedContainer {
    /// Name.
    pub name: String,
    /// Component of the chain's entry.
    pub component: String,
    /// Placement that it was made for.
    pub placement_id: String,
    /// Fence that it was made under.
    pub fence: u64,
    /// Hash of the specification that it was made from.
    pub spec_hash: String,
    /// `repository@sha256:…` that it was made from.
    pub image: String,
    /// What it does.
    pub state: ContainerState,
    /// Exit code of the last run; 0 while it runs.
    pub exit_code: i64,
    /// Whether the kernel ended the last run for lack of memory.
    pub out_of_memory: bool,
    /// Times that Docker started it again by itself.
    pub restarts: i64,
    /// Why Docker could not start it; empty when it could.
    pub error: String,
}

/// What a container does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerState {
    /// Made, never started.
    Created,
    /// Running.
    Running,
    /// Ended and about to be started again by Docker: a crash loop.
    Restarting,
    /// Ended, and not started again.
    Exited,
    /// Anything else: paused, being removed, dead.
    Other,
}

impl Session {
    /// Lists what stands on the machine for a node: containers, volumes and
    /// networks of any placement, files of the node, secrets of this placement.
    ///
    /// # Errors
    ///
    /// [`Error::Docker`] and those of the session.
    pub async fn observe(&self, placement: &PlacementRef) -> Result<Observed> {
        let node = Some(placement.node_id.as_str());
        let mut containers = Vec::new();
        for id in self.container_ids(node).await? {
            containers.extend(self.inspect(&id).await?);
        }
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Observed {
            containers,
            volumes: self.volume_names(node).await?,
            networks: self.network_names(node).await?,
            files: self.delivered(placement).await?,
        })
    }

    /// Docker's ids of the containers of one node, or of all nodes.
    pub(crate) async fn container_ids(&self, node: Option<&str>) -> Result<Vec<String>> {
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&of_node(node))
            .build();
        let docker = &self.engine().await?.docker;
        let list = docker.list_containers(Some(options));
        let containers = self.ask("list containers", list).await?;
        Ok(containers.into_iter().filter_map(|c| c.id).collect())
    }

    /// One container; none when it went away.
    pub(crate) async fn inspect(&self, id: &str) -> Result<Option<ObservedContainer>> {
        let docker = &self.engine().await?.docker;
        let inspect = docker.inspect_container(id, None::<InspectContainerOptions>);
        match self.ask("inspect a container", inspect).await {
            Ok(inspected) => describe(inspected).map(Some),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Names of the volumes of one node, or of all nodes.
    pub(crate) async fn volume_names(&self, node: Option<&str>) -> Result<Vec<String>> {
        let options = ListVolumesOptionsBuilder::new()
            .filters(&of_node(node))
            .build();
        let docker = &self.engine().await?.docker;
        let list = docker.list_volumes(Some(options));
        let listed = self.ask("list volumes", list).await?;
        let volumes = listed.volumes.unwrap_or_default();
        Ok(sorted(volumes.into_iter().map(|v| v.name)))
    }

    /// Names of the networks of one node, or of all nodes.
    pub(crate) async fn network_names(&self, node: Option<&str>) -> Result<Vec<String>> {
        let options = ListNetworksOptionsBuilder::new()
            .filters(&of_node(node))
            .build();
        let docker = &self.engine().await?.docker;
        let list = docker.list_networks(Some(options));
        let networks = self.ask("list networks", list).await?;
        Ok(sorted(networks.into_iter().filter_map(|n| n.name)))
    }
}

fn sorted(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// Reads what Docker says about a container of ours.
pub(super) fn describe(inspected: ContainerInspectResponse) -> Result<ObservedContainer> {
    let labels = inspected
        .config
        .and_then(|config| config.labels)
        .unwrap_or_default();
    let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
    let fence = label(LABEL_FENCE)
        .parse()
        .map_err(|_| Error::answer("inspect a container", "its fence is not a number"))?;
    let name = inspected.name.unwrap_or_default();
    let state = inspected.state.unwrap_or_default();
    Ok(ObservedContainer {
        name: name.trim_start_matches('/').to_owned(),
        component: label(LABEL_COMPONENT),
        placement_id: label(LABEL_PLACEMENT),
        fence,
        spec_hash: label(LABEL_SPEC),
        image: label(LABEL_IMAGE),
        state: match state.status {
            Some(ContainerStateStatusEnum::CREATED) => ContainerState::Created,
            Some(ContainerStateStatusEnum::RUNNING) => ContainerState::Running,
            Some(ContainerStateStatusEnum::RESTARTING) => ContainerState::Restarting,
            Some(ContainerStateStatusEnum::EXITED) => ContainerState::Exited,
            _ => ContainerState::Other,
        },
        exit_code: state.exit_code.unwrap_or_default(),
        out_of_memory: state.oom_killed.unwrap_or_default(),
        restarts: inspected.restart_count.unwrap_or_default(),
        error: said(&state.error.unwrap_or_default()),
    })
}
