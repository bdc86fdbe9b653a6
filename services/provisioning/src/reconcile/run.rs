//! LAUNCHING, RUNNING and DEGRADED: all of a placement stands on its machine,
//! and the node answers.
//!
//! The three differ in what is said of them, not in what is done: a machine
//! that lost something, by a reboot or by hand, is brought back the same way.

use super::halt::asked;
use super::job::{Here, Job};
use super::{Halt, deploy, drift, signer};
use crate::domain::{
    Component, Duty, Event, Health, PlacementEvent, Role, Said, Signals, State, Step, Verdict,
    verdict,
};
use crate::store;
use berth_core::Result;
use berth_proto::monitoring::v1 as pb;
use berth_provisioner::docker::{ContainerState, Observed, ObservedContainer};
use berth_runtime::clients;
use berth_runtime::reconcile::Outcome;
use berth_runtime::wire;
use chrono::{DateTime, TimeDelta, Utc};
use std::time::Duration;
use tonic::Code;

/// How often to look at a node that does not answer yet.
const LOOK: Duration = Duration::from_secs(1);
/// How long before the end of its lease a node warns.
const WARNING: TimeDelta = TimeDelta::minutes(30);

/// What came of a look at a node.
pub(super) struct Looked {
    pub(super) outcome: Outcome,
    pub(super) verdict: Verdict,
    pub(super) health: Health,
    /// Height of the chain that it has, where it tells one.
    pub(super) height: Option<i64>,
    /// How often its containers were started again, where they were seen.
    pub(super) restarts: Option<i64>,
}

/// One step.
pub(super) async fn step(job: &Job<'_>) -> Result<Outcome, Halt> {
    Ok(look_after(job)
        .await?
        .map_or(Outcome::Again, |looked| looked.outcome))
}

/// The same, and tells what was seen; nothing when the lease is over.
pub(super) async fn look_after(job: &Job<'_>) -> Result<Option<Looked>, Halt> {
    let Some(here) = job.here().await? else {
        return Ok(None);
    };
    let mut note = String::new();
    let seen = if here.placement.deploy_time.is_none() {
        Ok(first(job, &here).await?)
    } else {
        match signer::keep(job, &here).await {
            Ok(()) => {}
            // It goes on signing with the grant that it has, or does not.
            Err(Halt::Wait(Outcome::Wait { reason, .. }) | Halt::Fail(reason)) => note = reason,
            Err(halt) => return Err(halt),
        }
        match look(job, &here).await {
            Ok(seen) => Ok(seen),
            // Its own signals may still come: a session lost is no machine lost.
            Err(Halt::Wait(Outcome::Wait { reason, .. })) => Err(reason),
            Err(halt) => return Err(halt),
        }
    };
    let differs = drift::step(job, &here).await?;
    judge(job, &here, seen, note, differs).await.map(Some)
}

/// Keeps what is said of a node that is not looked at otherwise for a while.
pub(super) async fn listen(job: &Job<'_>, here: &Here) -> Result<(), Halt> {
    let told = told(&said(job, here).await?);
    let known = &job.node.components;
    job.commit(async |txn| store::nodes::set_signals(txn, job.node.id, &told, known).await)
        .await?;
    Ok(())
}

/// Looks at a deployed placement, and brings back what it lacks. Where all of
/// it runs, that is the cheap half.
async fn look(job: &Job<'_>, here: &Here) -> Result<Observed, Halt> {
    if job.node.state == State::Running {
        let site = &job.context.site;
        let seen = site.observe(&here.target, &deploy::whose(here)).await?;
        let fence = here.placement.fence.get();
        let runs = |c: &ObservedContainer| c.fence == fence && c.state == ContainerState::Running;
        if seen.containers.len() == job.node.components.len() && seen.containers.iter().all(runs) {
            return Ok(seen);
        }
    }
    deploy::converge(job, here).await
}

/// Deploys a placement for the first time.
async fn first(job: &Job<'_>, here: &Here) -> Result<Observed, Halt> {
    signer::admit(job, here).await?;
    let name = &here.machine.name;
    job.note(Step::new(
        "connect",
        format!("signing in to machine {name}"),
    ))
    .await?;
    deploy::prepare(job, here).await?;
    // Before the agent can send, or its first signals would be refused.
    expect(job, here, true).await?;
    let seen = deploy::converge(job, here).await?;
    let older = deploy::forget_older(job, here).await?;
    let id = here.placement.id;
    let step = Step::new("answer", "waiting for the node to answer");
    job.commit(async |txn| {
        for placement in &older {
            store::placements::apply(txn, placement, PlacementEvent::Wipe).await?;
        }
        store::events::append(txn, &job.node, &step).await?;
        store::placements::set_deployed(txn, id).await
    })
    .await?;
    Ok(seen)
}

/// Changes the state to what the signals say.
async fn judge(
    job: &Job<'_>,
    here: &Here,
    seen: Result<Observed, String>,
    note: String,
    differs: String,
) -> Result<Looked, Halt> {
    let said = said(job, here).await?;
    let told = told(&said);
    let components = seen.as_ref().map(components);
    let known = components.as_deref().unwrap_or(&job.node.components);
    job.commit(async |txn| {
        if told.duty != job.node.duty {
            store::events::append(txn, &job.node, &duty_step(&told)).await?;
        }
        store::nodes::set_signals(txn, job.node.id, &told, known).await
    })
    .await?;
    let signals = Signals {
        components: components.as_deref().map_err(|why| why.as_str()),
        health: told.health,
        health_reason: &told.health_reason,
    };
    let watch = job.context.options.watch;
    let verdict = match verdict(&signals) {
        Verdict::Good(_) if !differs.is_empty() => Verdict::Bad(differs),
        verdict @ (Verdict::Good(_) | Verdict::Bad(_)) => verdict,
    };
    let outcome = match verdict.clone() {
        Verdict::Good(unseen) => {
            let job = job.apply(Event::Answer, "").await?;
            tell_sync(&job, &said).await?;
            let notes = [unseen, note, lease_warning(here)];
            let first = notes.into_iter().find(|note| !note.is_empty());
            Outcome::wait(first.unwrap_or_default(), watch)
        }
        Verdict::Bad(why) => {
            job.apply(Event::Trouble, &why).await?;
            let after = if job.node.state == State::Launching {
                LOOK
            } else {
                watch
            };
            Outcome::wait(why, after)
        }
    };
    let restarts = |seen: &Observed| seen.containers.iter().map(|c| c.restarts).sum();
    Ok(Looked {
        outcome,
        verdict,
        health: told.health,
        height: i64::try_from(said.height).ok().filter(|height| *height > 0),
        restarts: seen.as_ref().ok().map(restarts),
    })
}

/// Warns of the end of the lease, with which the node's data goes.
fn lease_warning(here: &Here) -> String {
    let soon = |end: &DateTime<Utc>| *end - berth_core::now() < WARNING;
    here.expires.filter(soon).map_or_else(String::new, |end| {
        let end = end.format("%Y-%m-%d %H:%M UTC");
        format!("the lease ends at {end}, and the node with it; extend the lease to keep it")
    })
}

/// Tells watchers how far a node that catches up is.
async fn tell_sync(job: &Job<'_>, said: &pb::Health) -> Result<()> {
    match u8::try_from(said.sync_percent) {
        Ok(percent) if said.state() == pb::health::State::Syncing => {
            job.note(Step {
                percent: Some(percent.min(100)),
                ..Step::new("sync", "catching up with the chain")
            })
            .await
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// What monitoring says of this placement; nothing known when it speaks of another.
async fn said(job: &Job<'_>, here: &Here) -> Result<pb::Health, Halt> {
    let request = clients::request_for(
        job.node.account_id,
        pb::GetHealthRequest {
            node_id: job.node.id.to_string(),
        },
    );
    let fence = here.placement.fence.get();
    let answer = job
        .context
        .others
        .monitoring
        .clone()
        .get_health(request)
        .await;
    let said = match answer {
        Ok(answer) => answer.into_inner().health,
        // It lost what we told it; tell it again.
        Err(status) if status.code() == Code::NotFound => None,
        Err(status) => return Err(asked("monitoring")(status)),
    };
    match said {
        Some(said) if said.fence == fence => Ok(said),
        Some(_) | None => {
            expect(job, here, true).await?;
            Ok(pb::Health {
                reasons: vec!["no signal from the node yet".to_owned()],
                sync_percent: -1,
                ..pb::Health::default()
            })
        }
    }
}

/// A change of duty, for those who watch the node.
fn duty_step(told: &Said) -> Step {
    let words = told.duty.words();
    if told.duty_reason.is_empty() {
        Step::new("duty", words)
    } else {
        Step::new("duty", format!("{words}: {}", told.duty_reason))
    }
}

fn told(said: &pb::Health) -> Said {
    let health = match said.state() {
        pb::health::State::Healthy => Health::Healthy,
        pb::health::State::Syncing => Health::Syncing,
        pb::health::State::Degraded => Health::Degraded,
        pb::health::State::Down => Health::Down,
        pb::health::State::Unknown | pb::health::State::Unspecified => Health::Unknown,
    };
    let (duty, duty_reason) = said.duty.as_ref().map_or_else(
        || (Duty::Unknown, String::new()),
        |said| (duty(said.state()), said.reason.clone()),
    );
    Said {
        health,
        health_reason: said.reasons.join("; "),
        duty,
        duty_reason,
    }
}

fn duty(state: pb::duty::State) -> Duty {
    use pb::duty::State as Told;
    match state {
        Told::Unknown | Told::Unspecified => Duty::Unknown,
        Told::Syncing => Duty::Syncing,
        Told::NotInSet => Duty::NotInSet,
        Told::Earning => Duty::Earning,
        Told::Delinquent => Duty::Delinquent,
        Told::Jailed => Duty::Jailed,
        Told::Tombstoned => Duty::Tombstoned,
        Told::Exiting => Duty::Exiting,
        Told::Exited => Duty::Exited,
    }
}

/// Tells monitoring which placement speaks for the node, and what to expect.
pub(super) async fn expect(job: &Job<'_>, here: &Here, running: bool) -> Result<(), Halt> {
    let entry = job.entry().await?;
    let wanted = entry.health;
    let signs = entry.duty.filter(|_| job.node.role == Role::Validator);
    let seconds =
        |seconds: u32| (seconds > 0).then(|| wire::duration(TimeDelta::seconds(seconds.into())));
    let request = clients::request(pb::PutTargetRequest {
        node_id: job.node.id.to_string(),
        account_id: job.node.account_id.to_string(),
        placement_id: here.placement.id.to_string(),
        fence: here.placement.fence.get(),
        expectation: Some(pb::Expectation {
            min_peers: wanted.min_peers,
            max_distance: wanted.max_distance,
            max_block_age: seconds(wanted.max_block_age_s),
            min_disk_free_percent: wanted.min_disk_free_percent,
            silence: seconds(wanted.silence_s),
            gpu_count: here.placement.share.gpus.unsigned_abs(),
        }),
        running,
        duty: signs.map(|signs| pb::DutySigns {
            done: signs.done,
            missed: signs.missed,
            in_set: signs.in_set,
            refused: signs.refused.unwrap_or_default(),
            unready: signs.unready.unwrap_or_default(),
            window: seconds(signs.window_s),
        }),
        chain: job.node.chain_id.clone(),
        public_keys: job.node.validators.clone(),
    });
    let told = job.context.others.targets.clone().put_target(request).await;
    told.map(drop).map_err(asked("monitoring"))
}

/// The containers, as they were seen.
pub(super) fn components(seen: &Observed) -> Vec<Component> {
    seen.containers
        .iter()
        .map(|container| Component {
            name: container.component.clone(),
            state: match container.state {
                ContainerState::Created => "created",
                ContainerState::Running => "running",
                ContainerState::Restarting => "restarting",
                ContainerState::Exited => "exited",
                ContainerState::Other => "other",
            }
            .to_owned(),
            image_digest: container
                .image
                .split_once('@')
                .map(|(_, digest)| digest.to_owned())
                .unwrap_or_default(),
            restarts: u32::try_from(container.restarts).unwrap_or_default(),
        })
        .collect()
}
