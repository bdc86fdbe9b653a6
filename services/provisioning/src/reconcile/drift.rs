//! RUNNING and DEGRADED: what stands on the machine is compared with what
//! should, on a timer of its own, and put right or told.
//!
//! A container that is another one than was ordered had the certificate of its
//! placement, and whoever made it may have kept that. So its node is not
//! patched but placed again where it is, under the next fence: from that commit
//! on what ran before signs nothing more. Limits, firewall and the owners of
//! secrets are put right in place, without a restart.

use super::halt::asked;
use super::job::{Here, Job};
use super::{Action, Halt, deliver, deploy};
use crate::domain::{Decision, Differing, Event, Hardware, Remedy, State, Step, Watch, decide};
use crate::store;
use crate::store::placements::Place;
use berth_core::{Error, Result};
use berth_proto::inventory::v1 as inventory;
use berth_provisioner::Error as SiteError;
use berth_provisioner::drift::{Difference, Part};
use berth_provisioner::facts::Facts;
use berth_provisioner::firewall::open_ports;
use berth_provisioner::spec::Deployment;
use berth_runtime::clients;
use berth_runtime::reconcile::Outcome;
use chrono::{DateTime, TimeDelta, Utc};
use std::time::Duration;

/// Longest problem that inventory takes, in characters.
const MAX_PROBLEM: usize = 1000;

/// Looks when it is time to. What differs and is not put right, for people;
/// mostly empty. A repair ends the step: the next one looks again.
pub(super) async fn step(job: &Job<'_>, here: &Here) -> Result<String, Halt> {
    let deployed = here.placement.deploy_time;
    let stands = matches!(job.node.state, State::Running | State::Degraded);
    let (true, Some(deployed)) = (stands, deployed) else {
        return Ok(String::new());
    };
    let before = job
        .read(async |conn| store::drift::get(conn, job.node.id).await)
        .await?;
    let mut watch = Watch::begin(job.node.id, here.placement.id, before);
    let now = berth_core::now();
    if !watch.is_due(delta(job.context.options.drift), deployed, now) {
        return Ok(watch.report);
    }
    let deployment = deploy::rendered(job, here).await?;
    match look(job, here, &deployment, &mut watch, now).await {
        Ok(differing) => act(job, here, &deployment, watch, &differing).await,
        // It cannot be seen now, which the ordinary look tells.
        Err(Halt::Wait(_)) => {
            watch.look_time = Some(now);
            save(job, &watch, None).await?;
            Ok(watch.report)
        }
        Err(halt) => Err(halt),
    }
}

async fn act(
    job: &Job<'_>,
    here: &Here,
    deployment: &Deployment,
    mut watch: Watch,
    differing: &[Differing],
) -> Result<String, Halt> {
    let mut job = job.clone();
    let now = berth_core::now();
    let (told, report) = match decide(differing, &watch.repairs, now) {
        Decision::Right => {
            let was_wrong = job.node.state == State::Degraded && !watch.repairs.is_empty();
            let told = "the machine is as it should be";
            (was_wrong.then(|| told.to_owned()), String::new())
        }
        Decision::Repair(remedies, why) => {
            watch.repairs.note(&remedies, now);
            job = begin(&job, here, &watch, &remedies, &why).await?;
            let failed = repair(&job, here, deployment, &remedies).await?;
            let why = format!("{why}; it could not be put right: {failed}");
            (Some(why.clone()), why)
        }
        Decision::Report(why) => {
            let news = why != watch.report;
            (news.then(|| why.clone()), why)
        }
    };
    watch.look_time = Some(now);
    watch.report = report;
    save(&job, &watch, told.map(|told| Step::new("drift", told))).await?;
    Ok(watch.report)
}

async fn save(job: &Job<'_>, watch: &Watch, step: Option<Step>) -> Result<()> {
    job.commit(async |txn| {
        if let Some(step) = &step {
            store::events::append(txn, &job.node, step).await?;
        }
        store::drift::save(txn, watch).await
    })
    .await
}

/// All that differs: containers, files and firewall, the host key, and from
/// time to time the hardware.
async fn look(
    job: &Job<'_>,
    here: &Here,
    deployment: &Deployment,
    watch: &mut Watch,
    now: DateTime<Utc>,
) -> Result<Vec<Differing>, Halt> {
    let site = &job.context.site;
    let drift = match site.drift(&here.target, deployment).await {
        Ok(drift) => drift,
        Err(error) => return Ok(vec![unread(error)?]),
    };
    same_key(job, here).await?;
    let every = delta(job.context.options.facts);
    if watch.is_measured_again(every, &drift.boot, now) {
        match site.hardware(&here.target).await {
            Ok(facts) => {
                measured(job, here, watch, &facts).await?;
                watch.facts_time = Some(now);
                watch.boot = drift.boot;
            }
            Err(error) => return Ok(vec![unread(error)?]),
        }
    }
    let mut all: Vec<Differing> = drift.differences.iter().map(differing).collect();
    all.extend(watch.hardware.iter().map(|text| Differing {
        text: text.clone(),
        remedy: Remedy::Person,
    }));
    Ok(all)
}

/// A machine that answers nonsense differs; one that does not answer is waited
/// for elsewhere.
fn unread(error: SiteError) -> Result<Differing, Halt> {
    match Halt::from(error) {
        Halt::Fail(text) => Ok(Differing {
            text,
            remedy: Remedy::Person,
        }),
        halt @ (Halt::Wait(_) | Halt::Stranger(_) | Halt::Error(_)) => Err(halt),
    }
}

/// A session that stays open does not notice that the key behind the address
/// became another one.
async fn same_key(job: &Job<'_>, here: &Here) -> Result<(), Halt> {
    let pinned = here.target.host_key.fingerprint();
    match job.context.site.scan(&here.target.address).await {
        Ok(shown) if shown.fingerprint() != pinned => Err(SiteError::HostKeyChanged {
            expected: pinned.to_string(),
            seen: shown.fingerprint().to_string(),
        }
        .into()),
        // Whoever cannot be asked is seen by the next connection.
        Ok(_) | Err(_) => Ok(()),
    }
}

fn differing(difference: &Difference) -> Differing {
    let remedy = match &difference.part {
        Part::Limits(name) => Remedy::Limits(name.clone()),
        Part::Container(_) | Part::File => Remedy::Anew,
        Part::Secret => Remedy::Secrets,
        Part::Firewall => Remedy::Firewall,
        Part::Machine => Remedy::Person,
    };
    Differing {
        text: difference.to_string(),
        remedy,
    }
}

/// Compares the hardware with what was verified, and tells inventory once what
/// is gone: the machine becomes FAULTY after its lease.
async fn measured(
    job: &Job<'_>,
    here: &Here,
    watch: &mut Watch,
    facts: &Facts,
) -> Result<(), Halt> {
    let status = here.machine.status.as_ref();
    let Some(verified) = status.and_then(|status| status.facts.as_ref()) else {
        return Ok(());
    };
    let lost = verified_hardware(verified).lost(&hardware(facts));
    if !lost.is_empty() && lost != watch.hardware {
        let request = clients::request(inventory::ReportMachineProblemRequest {
            machine_id: here.placement.machine_id.to_string(),
            problem: lost.join("; ").chars().take(MAX_PROBLEM).collect(),
        });
        let mut fleet = job.context.others.fleet.clone();
        let told = fleet.report_machine_problem(request).await;
        told.map_err(asked("inventory"))?;
    }
    watch.hardware = lost;
    Ok(())
}

fn hardware(facts: &Facts) -> Hardware {
    Hardware {
        cpu_model: facts.cpu_model.clone(),
        cpu_cores: facts.cpu_cores,
        memory_bytes: facts.memory_bytes,
        disk_bytes: facts.disks.first().map_or(0, |disk| disk.size_bytes),
        gpus: facts
            .gpus
            .iter()
            .map(|gpu| format!("{} ({})", gpu.model, gpu.uuid))
            .collect(),
    }
}

fn verified_hardware(facts: &inventory::Facts) -> Hardware {
    Hardware {
        cpu_model: facts.cpu_model.clone(),
        cpu_cores: facts.cpu_cores,
        memory_bytes: facts.memory_bytes,
        disk_bytes: facts.disks.first().map_or(0, |disk| disk.size_bytes),
        gpus: facts
            .gpus
            .iter()
            .map(|gpu| format!("{} ({})", gpu.model, gpu.uuid))
            .collect(),
    }
}

/// Tells what is put right, and counts it. Ends the step of a node that is
/// placed anew; otherwise the job with the changed node.
async fn begin<'a>(
    job: &Job<'a>,
    here: &Here,
    watch: &Watch,
    remedies: &[Remedy],
    why: &str,
) -> Result<Job<'a>, Halt> {
    let anew = remedies.contains(&Remedy::Anew);
    let how = if anew {
        "starting the node anew under the next fence"
    } else {
        "putting it right"
    };
    let told = Step::new("drift", format!("{why}; {how}"));
    let node = job
        .commit(async |txn| {
            store::events::append(txn, &job.node, &told).await?;
            let node = store::nodes::apply(txn, &job.node, Event::Trouble, why).await?;
            store::drift::save(txn, watch).await?;
            if anew {
                let place = Place::from(&here.placement);
                store::placements::advance(txn, &node, &place).await?;
            }
            Ok(node)
        })
        .await?;
    if anew {
        return Err(Halt::Wait(Outcome::Again));
    }
    Ok(Job {
        node,
        ..job.clone()
    })
}

/// Puts right what can be in place. Ends the step where that went well;
/// otherwise why it did not, for people.
async fn repair(
    job: &Job<'_>,
    here: &Here,
    deployment: &Deployment,
    remedies: &[Remedy],
) -> Result<String, Halt> {
    for remedy in remedies {
        match put_right(job, here, deployment, remedy).await {
            Ok(()) => {}
            Err(Halt::Wait(Outcome::Wait { reason, .. }) | Halt::Fail(reason)) => {
                return Ok(reason);
            }
            Err(halt) => return Err(halt),
        }
    }
    Err(Halt::Wait(Outcome::Again))
}

async fn put_right(
    job: &Job<'_>,
    here: &Here,
    deployment: &Deployment,
    remedy: &Remedy,
) -> Result<(), Halt> {
    let site = &job.context.site;
    let act = |action| site.act(&here.target, deployment, action);
    match remedy {
        Remedy::Limits(name) => {
            let spec = deployment.containers.iter().find(|c| c.name == *name);
            let spec = spec.ok_or_else(|| Error::internal("limits of an unknown container"))?;
            act(Action::Limit(spec)).await?;
        }
        Remedy::Secrets => {
            let files = deliver::secrets(job, deployment).await?;
            act(Action::Secrets(&deployment.dirs, &files)).await?;
        }
        Remedy::Firewall => act(Action::Firewall(&open_ports(deployment))).await?,
        Remedy::Anew | Remedy::Person => {}
    }
    Ok(())
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}
