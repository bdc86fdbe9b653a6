//! Reading what stands on a machine.

use super::read::{Few, check_named};
use super::{is_missing, of_node};
use crate::error::{Error, Result, said};
use crate::spec::{
    LABEL_COMPONENT, LABEL_FENCE, LABEL_IMAGE, LABEL_PLACEMENT, LABEL_SPEC, PlacementRef,
};
use crate::ssh::Session;
use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum};
use serde::Deserialize;

/// How many calls a look may take the time of, however many it makes.
const LOOK: u32 = 2;

/// Longest name, and longest value of a label that is read.
const MAX_NAME: usize = 512;

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
        let look = self.look_around(placement);
        self.together("look at what stands there", LOOK, look).await
    }

    async fn look_around(&self, placement: &PlacementRef) -> Result<Observed> {
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
        let containers = self.containers(&of_node(node)).await?;
        Ok(containers.into_iter().map(|c| c.id).collect())
    }

    /// The containers of a query, which may be empty.
    pub(crate) async fn containers(&self, query: &str) -> Result<Vec<Listed>> {
        const WHAT: &str = "list containers";
        let path = format!("/containers/json?all=true&{query}");
        let Few(containers): Few<Listed> = self.list(WHAT, &path).await?;
        for container in &containers {
            check_named(WHAT, &container.id)?;
        }
        Ok(containers)
    }

    /// One container; none when it went away.
    pub(crate) async fn inspect(&self, id: &str) -> Result<Option<ObservedContainer>> {
        match self.inspected(id).await {
            Ok(inspected) => describe(inspected).map(Some),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Names of the volumes of one node, or of all nodes.
    pub(crate) async fn volume_names(&self, node: Option<&str>) -> Result<Vec<String>> {
        const WHAT: &str = "list volumes";
        let path = format!("/volumes?{}", of_node(node));
        let listed: Volumes = self.list(WHAT, &path).await?;
        sorted(WHAT, listed.volumes)
    }

    /// Names of the networks of one node, or of all nodes.
    pub(crate) async fn network_names(&self, node: Option<&str>) -> Result<Vec<String>> {
        const WHAT: &str = "list networks";
        let path = format!("/networks?{}", of_node(node));
        sorted(WHAT, self.list(WHAT, &path).await?)
    }
}

/// A container of a list, as far as it is read.
#[derive(Debug, Deserialize)]
pub(crate) struct Listed {
    #[serde(rename = "Id")]
    id: String,
    #[serde(rename = "ImageID", default)]
    pub(crate) image_id: String,
}

/// The list of volumes.
#[derive(Debug, Deserialize)]
struct Volumes {
    #[serde(rename = "Volumes", default)]
    volumes: Few<Named>,
}

/// A volume or a network of a list, as far as it is read.
#[derive(Debug, Deserialize)]
struct Named {
    #[serde(rename = "Name")]
    name: String,
}

fn sorted(what: &'static str, Few(list): Few<Named>) -> Result<Vec<String>> {
    let mut names: Vec<String> = list.into_iter().map(|one| one.name).collect();
    for name in &names {
        check_named(what, name)?;
    }
    names.sort();
    Ok(names)
}

/// A text that is ours where the machine is honest: cut, and without characters
/// that move a terminal.
fn bounded(text: &str) -> String {
    let text = &text[..text.floor_char_boundary(MAX_NAME)];
    text.chars().filter(|c| !c.is_control()).collect()
}

/// Reads what Docker says about a container of ours.
pub(crate) fn describe(inspected: ContainerInspectResponse) -> Result<ObservedContainer> {
    let labels = inspected
        .config
        .and_then(|config| config.labels)
        .unwrap_or_default();
    let label = |name: &str| bounded(labels.get(name).map_or("", String::as_str));
    let fence = label(LABEL_FENCE)
        .parse()
        .map_err(|_| Error::answer("inspect a container", "its fence is not a number"))?;
    let name = bounded(&inspected.name.unwrap_or_default());
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    /// What dockerd says of a container, as far as it is read.
    fn said_of_one() -> Value {
        serde_json::from_str(include_str!("testdata/container.json")).unwrap()
    }

    fn read(said: Value) -> Option<ObservedContainer> {
        let inspected = serde_json::from_value(said).ok()?;
        describe(inspected).ok()
    }

    #[test]
    fn what_a_container_is_called_is_cut_and_moves_no_terminal() {
        let mut said = said_of_one();
        let hostile = format!("\u{1b}[2J{}", "x".repeat(1 << 20));
        said["Name"] = json!(hostile);
        for label in [LABEL_COMPONENT, LABEL_PLACEMENT, LABEL_SPEC, LABEL_IMAGE] {
            said["Config"]["Labels"][label] = json!(hostile);
        }
        said["State"]["Error"] = json!(hostile);
        let seen = read(said).unwrap();
        for text in [
            &seen.name,
            &seen.component,
            &seen.placement_id,
            &seen.image,
            &seen.error,
        ] {
            assert!(
                text.len() <= 1024 && !text.contains('\u{1b}'),
                "{}",
                text.len()
            );
        }
    }

    #[test]
    fn a_container_whose_numbers_are_none_is_not_understood() {
        assert_eq!(read(said_of_one()).unwrap().fence, 7);
        for fence in ["-1", "", "18446744073709551616", "0x7", "7.0"] {
            let mut said = said_of_one();
            said["Config"]["Labels"][LABEL_FENCE] = json!(fence);
            assert_eq!(read(said), None, "{fence}");
        }
    }

    proptest! {
        #[test]
        fn no_other_type_of_a_field_breaks_the_reader(
            pointer in prop::sample::select(vec![
                "/Name", "/RestartCount", "/State", "/State/Status", "/State/ExitCode",
                "/State/OOMKilled", "/Config", "/Config/Labels",
            ]),
            value in prop::sample::select(vec![
                json!(null), json!(-1), json!(1e300), json!("x"), json!([[[[]]]]), json!({}),
                json!(u64::MAX), json!(true),
            ]),
        ) {
            let mut said = said_of_one();
            *said.pointer_mut(pointer).unwrap() = value;
            read(said);
        }
    }
}
