//! Brings a machine to what a placement wants there: renders, looks, plans, and
//! carries the plan out.

use super::job::{Here, Job};
use super::{Action, Halt, deliver};
use crate::catalogue;
use crate::domain::plan::{self, Activity, Found, Intended, Standing, Wanted};
use crate::domain::{Event, Placement, State, Step};
use crate::store;
use berth_core::{Error, Result};
use berth_provisioner::docker::{ContainerState, Observed};
use berth_provisioner::firewall::open_ports;
use berth_provisioner::harden::spec_hash;
use berth_provisioner::render::{AgentLaunch, Launch, render};
use berth_provisioner::spec::{ContainerSpec, Deployment, PlacementRef};
use berth_runtime::reconcile::Outcome;
use std::time::Duration;

/// Seconds between two rounds of an agent's probes.
const INTERVAL_S: u32 = 5;
/// How often a machine is asked to let go of images, and how long after it refused.
const PRUNE_TRIES: u32 = 3;
const PRUNE_PAUSE: Duration = Duration::from_secs(1);
/// Component of the agent.
const AGENT: &str = "agent";

/// Whose an object on a machine is.
pub(super) fn whose(here: &Here) -> PlacementRef {
    PlacementRef {
        node_id: here.placement.node_id.to_string(),
        placement_id: here.placement.id.to_string(),
        fence: here.placement.fence.get(),
    }
}

/// Makes the machine fit to hold containers.
pub(super) async fn prepare(job: &Job<'_>, here: &Here) -> Result<(), Halt> {
    let deployment = rendered(job, here).await?;
    job.note(Step::new(
        "prepare",
        "Docker, clock and folders of the machine",
    ))
    .await?;
    let site = &job.context.site;
    Ok(site.act(&here.target, &deployment, Action::Prepare).await?)
}

/// Does what is left to do on the machine, and answers what stands there then.
pub(super) async fn converge(job: &Job<'_>, here: &Here) -> Result<Observed, Halt> {
    let deployment = rendered(job, here).await?;
    let site = &job.context.site;
    let seen = site.observe(&here.target, &deployment.placement).await?;
    let steps = plan::plan(&intended(&deployment), &found(&seen)).map_err(|newer| {
        Halt::Fail(format!(
            "machine {} holds this node under fence {}, newer than {}: \
             is another Berth using it, or was our database restored?",
            here.machine.name, newer.fence, here.placement.fence
        ))
    })?;
    if steps.is_empty() {
        return Ok(seen);
    }
    let job = &if job.node.state == State::Running {
        let why = "something of the node is missing on its machine; bringing it back";
        job.apply(Event::Trouble, why).await?
    } else {
        job.clone()
    };
    for step in steps {
        carry_out(job, here, &deployment, &step).await?;
    }
    Ok(site.observe(&here.target, &deployment.placement).await?)
}

/// Removes what older placements of the node left in the machine's memory. Their
/// containers went when those of this one came, and the data is the node's.
pub(super) async fn forget_older(job: &Job<'_>, here: &Here) -> Result<Vec<Placement>, Halt> {
    let unwiped = job
        .read(async |conn| store::placements::unwiped(conn, job.node.id).await)
        .await?;
    let (id, machine) = (here.placement.id, here.placement.machine_id);
    let older: Vec<_> = unwiped
        .into_iter()
        .filter(|placement| placement.machine_id == machine && placement.id != id)
        .collect();
    if older.is_empty() {
        return Ok(older);
    }
    let deployment = rendered(job, here).await?;
    for placement in &older {
        let forget = Action::Forget(placement.id);
        job.context
            .site
            .act(&here.target, &deployment, forget)
            .await?;
    }
    Ok(older)
}

/// Removes the images of versions that the node had before. What the machine does
/// not let go of, also when asked again, stays until the next upgrade or the end of
/// the node, and holds nothing up.
pub(super) async fn prune(job: &Job<'_>, here: &Here) -> Result<(), Halt> {
    let deployment = rendered(job, here).await?;
    let mut tries = 0;
    let why = loop {
        tries += 1;
        let site = &job.context.site;
        let pruned = site.act(&here.target, &deployment, Action::Prune).await;
        match pruned.map_err(Halt::from) {
            Err(Halt::Wait(Outcome::Wait { .. })) if tries < PRUNE_TRIES => {
                tokio::time::sleep(PRUNE_PAUSE).await;
            }
            Err(Halt::Fail(why) | Halt::Wait(Outcome::Wait { reason: why, .. })) => break why,
            done => return done,
        }
    };
    let message = format!("an image that nothing needs stays there: {why}");
    Ok(job.note(Step::new("image", message)).await?)
}

/// What is to stand on the machine.
pub(super) async fn rendered(job: &Job<'_>, here: &Here) -> Result<Deployment, Halt> {
    let context = job.context;
    let image = deliver::agent_image(&context.options)?;
    let ca_pem = context.vault.services_ca().await?;
    let address = &here.target.address;
    let host = address
        .rsplit_once(':')
        .map_or(address.as_str(), |(host, _)| host);
    let (entry, files) = (job.entry().await?, job.files().await?);
    let launch = Launch {
        entry: &entry,
        role: catalogue::role(job.node.role),
        node_name: job.node.name.as_str(),
        settings: &job.node.settings,
        files: &files,
        placement: &whose(here),
        machine_address: host.trim_matches(['[', ']']),
        port_offset: u16::try_from(here.placement.port_offset).unwrap_or_default(),
        agent: AgentLaunch {
            image: &image,
            control: &context.options.control,
            signer: context.options.signer.as_ref(),
            ca_pem: &ca_pem,
            interval_s: INTERVAL_S,
        },
    };
    render(&launch).map_err(|problem| Halt::Fail(problem.to_string()))
}

async fn carry_out(
    job: &Job<'_>,
    here: &Here,
    deployment: &Deployment,
    step: &plan::Step,
) -> Result<(), Halt> {
    let act = |action| job.context.site.act(&here.target, deployment, action);
    let note = |name, message: String| job.note(Step::new(name, message));
    match step {
        plan::Step::Image(image) => deliver::image(job, here, deployment, image).await?,
        plan::Step::Secrets => {
            note(
                "secrets",
                "keys of the node, from Vault into memory".to_owned(),
            )
            .await?;
            let files = deliver::secrets(job, deployment).await?;
            act(Action::Secrets(&deployment.dirs, &files)).await?;
        }
        plan::Step::Files => {
            note("files", "configuration of the node".to_owned()).await?;
            act(Action::Files).await?;
        }
        plan::Step::Network => {
            note("network", "network and volumes of the node".to_owned()).await?;
            act(Action::Network).await?;
        }
        plan::Step::Firewall => {
            note("firewall", "ports of the machine".to_owned()).await?;
            act(Action::Firewall(&open_ports(deployment))).await?;
        }
        plan::Step::Stop(name) => {
            note("containers", format!("stopping {name}")).await?;
            let patience = patience(deployment, name).max(older_patience(job, name));
            act(Action::Stop(name, patience)).await?;
        }
        plan::Step::Remove(name) => {
            note("containers", format!("removing {name}")).await?;
            act(Action::Remove(name)).await?;
        }
        plan::Step::Create(name) => act(Action::Create(container(deployment, name)?)).await?,
        plan::Step::Start(name) => {
            note("containers", format!("starting {name}")).await?;
            act(Action::Start(name)).await?;
        }
        plan::Step::Certificate => {
            note("agent", "certificate of the agent".to_owned()).await?;
            deliver::certificate(job, here, deployment).await?;
        }
    }
    Ok(())
}

/// A container of the deployment.
fn container<'a>(deployment: &'a Deployment, name: &str) -> Result<&'a ContainerSpec, Halt> {
    let found = deployment.containers.iter().find(|c| c.name == name);
    found.ok_or_else(|| Error::internal("the plan names an unknown container").into())
}

/// The agent's container.
pub(super) fn agent(deployment: &Deployment) -> Result<&ContainerSpec, Halt> {
    let found = deployment.containers.iter().find(|c| c.component == AGENT);
    found.ok_or_else(|| Error::internal("the deployment has no agent").into())
}

/// How long a container gets to stop. One that the entry does not name any more
/// gets what such containers mostly ask for.
pub(super) fn patience(deployment: &Deployment, name: &str) -> Duration {
    let found = deployment.containers.iter().find(|c| c.name == name);
    Duration::from_secs(found.map_or(30, |c| c.stop_timeout_s.into()))
}

/// The same by the version before, whose container it may be.
fn older_patience(job: &Job<'_>, name: &str) -> Duration {
    let named = |component: &&String| name.ends_with(&format!("-{component}"));
    let stops = job.stops.keys().filter(named);
    let stops = stops.filter_map(|component| job.stops.get(component));
    stops.max().copied().unwrap_or_default()
}

/// The deployment in the words of the plan.
fn intended(deployment: &Deployment) -> Intended {
    let containers = deployment.containers.iter().map(|container| Wanted {
        name: container.name.clone(),
        spec: spec_hash(container, &deployment.network),
        image: container.image.to_string(),
    });
    let identity = format!("/{AGENT}");
    let mut dirs = deployment.dirs.iter().map(|dir| &dir.path);
    let identity = dirs.find(|path| path.ends_with(&identity));
    Intended {
        fence: deployment.placement.fence,
        containers: containers.collect(),
        volumes: deployment.volumes.iter().cloned().collect(),
        network: deployment.network.clone(),
        secrets: deployment
            .secrets
            .iter()
            .map(|secret| secret.path.clone())
            .collect(),
        certificate: identity
            .map(|dir| format!("{dir}/certificate.pem"))
            .unwrap_or_default(),
    }
}

/// What was seen, in the words of the plan.
fn found(seen: &Observed) -> Found {
    let containers = seen.containers.iter().map(|container| Standing {
        name: container.name.clone(),
        fence: container.fence,
        spec: container.spec_hash.clone(),
        activity: match container.state {
            ContainerState::Running | ContainerState::Restarting => Activity::Up,
            ContainerState::Created | ContainerState::Exited | ContainerState::Other => {
                Activity::Down
            }
        },
    });
    Found {
        containers: containers.collect(),
        volumes: seen.volumes.iter().cloned().collect(),
        networks: seen.networks.iter().cloned().collect(),
        files: seen.files.iter().cloned().collect(),
    }
}
