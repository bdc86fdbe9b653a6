//! The agent's container: on the node's bridge, with its volumes read-only.

use std::collections::BTreeMap;

use super::agent::{
    AgentConfig, CA_PATH, CONFIG_PATH, IDENTITY_DIR, Identity, NodeLabels, SCHEMA, SIGNER, Signer,
    UID, VOLUMES_DIR,
};
use super::containers::digest;
use super::{Launch, Names, RenderError};
use crate::chain::probe::Probe;
use crate::chain::{Custody, Role};
use crate::spec::{ContainerSpec, Deployment, DirSpec, FileSpec, Mount, MountSource};

/// Name of the agent's component.
const AGENT: &str = "agent";
/// Bytes of samples kept while the way is cut.
const BUFFER_BYTES: u64 = 4 << 20;

/// Adds the agent to the deployment, last.
pub(super) fn add(
    launch: &Launch<'_>,
    names: &Names,
    deployment: &mut Deployment,
) -> Result<(), RenderError> {
    let signer = signer(launch)?;
    let aliases = signer.iter().map(|_| SIGNER.to_owned()).collect();
    let config = config(launch, signer);
    let text = toml::to_string(&config).map_err(|e| RenderError::Agent(e.to_string()))?;
    let files: Vec<FileSpec> = [(CONFIG_PATH, text.as_str()), (CA_PATH, launch.agent.ca_pem)]
        .into_iter()
        .map(|(path, text)| FileSpec {
            path: names.file(AGENT, path),
            mode: 0o444,
            uid: 0,
            gid: 0,
            contents: text.as_bytes().to_vec(),
        })
        .collect();
    let identity = DirSpec {
        path: names.secrets(AGENT),
        mode: 0o700,
        uid: UID,
        gid: UID,
    };
    let gpus = launch.entry.gpus(launch.role);
    deployment.containers.push(ContainerSpec {
        name: names.container(AGENT),
        component: AGENT.to_owned(),
        image: launch.agent.image.clone(),
        entrypoint: Vec::new(),
        command: Vec::new(),
        env: BTreeMap::new(),
        user: format!("{UID}:{UID}"),
        mounts: mounts(names, &identity, &config.probes),
        files_digest: digest(&files),
        tmpfs: BTreeMap::new(),
        ports: Vec::new(),
        aliases,
        cap_add: Vec::new(),
        memory_bytes: 128 << 20,
        cpu_millis: 500,
        pids: 64,
        nofile: 1024,
        stop_timeout_s: 10,
        gpus,
    });
    deployment.dirs.push(identity);
    deployment.files.extend(files);
    Ok(())
}

fn mounts(names: &Names, identity: &DirSpec, probes: &[Probe]) -> Vec<Mount> {
    let path = |source: String, target: &str, read_only| Mount {
        source: MountSource::Path(source),
        target: target.to_owned(),
        read_only,
    };
    let folder = CONFIG_PATH
        .rsplit_once('/')
        .map_or("/", |(folder, _)| folder);
    let mut mounts = vec![
        path(names.file(AGENT, folder), folder, true),
        path(identity.path.clone(), IDENTITY_DIR, false),
    ];
    let volumes: std::collections::BTreeSet<&str> =
        probes.iter().filter_map(Probe::volume).collect();
    mounts.extend(volumes.into_iter().map(|volume| Mount {
        source: MountSource::Volume(names.volume(volume)),
        target: format!("{VOLUMES_DIR}/{volume}"),
        read_only: true,
    }));
    mounts
}

/// The signer of a node whose keys are there; nothing for a node that signs nothing.
fn signer(launch: &Launch<'_>) -> Result<Option<Signer>, RenderError> {
    if (launch.role, launch.entry.custody) != (Role::Validator, Custody::RemoteSigner) {
        return Ok(None);
    }
    let none = || RenderError::NotLaunchable("no signer is configured".to_owned());
    launch.agent.signer.cloned().map(Some).ok_or_else(none)
}

fn config(launch: &Launch<'_>, signer: Option<Signer>) -> AgentConfig {
    let placement = launch.placement;
    let resource = [
        ("service.name", "berth-agent".to_owned()),
        ("berth.node.id", placement.node_id.clone()),
        ("berth.placement.id", placement.placement_id.clone()),
        ("berth.fence", placement.fence.to_string()),
        ("berth.chain", launch.entry.name.clone()),
    ];
    AgentConfig {
        schema: SCHEMA,
        interval_s: launch.agent.interval_s,
        buffer_bytes: BUFFER_BYTES,
        volumes: VOLUMES_DIR.to_owned(),
        node: NodeLabels {
            node_id: placement.node_id.clone(),
            placement_id: placement.placement_id.clone(),
            fence: placement.fence,
            chain: launch.entry.name.clone(),
            role: launch.role.to_string(),
        },
        control: launch.agent.control.clone(),
        signer,
        identity: Identity::default(),
        resource: resource.map(|(k, v)| (k.to_owned(), v)).into(),
        probes: launch.entry.probes_of(launch.role),
    }
}
