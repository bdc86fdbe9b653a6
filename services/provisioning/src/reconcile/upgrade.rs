//! An upgrade that is under way: the images come while the old version runs,
//! then the versions change places under the next fence, and what was started
//! has to become healthy, or goes back.
//!
//! The looks at the node are those of `run`, whatever an upgrade does.

use super::job::{Here, Job};
use super::run::{self, Looked};
use super::{Halt, Outcome, deliver, deploy, gates, place};
use crate::catalogue;
use crate::domain::{
    Event, Gate, Health, Look, Ruling, Share, Side, Step, Upgrade, UpgradeEvent, UpgradeState,
    Verdict,
};
use crate::store;
use crate::store::placements::Place;
use berth_core::Result;
use berth_provisioner::chain::ChainEntry;
use chrono::TimeDelta;
use sqlx::PgConnection;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long to wait before images that did not come are asked for again.
const AGAIN: Duration = Duration::from_secs(10);
/// How often to look at what was started, at least.
const LOOK: Duration = Duration::from_secs(2);

/// One step of a node that is launching or runs, whether it is being upgraded or
/// not.
pub(super) async fn step(job: &Job<'_>) -> Result<Outcome, Halt> {
    let last = job
        .read(async |conn| store::upgrades::last(conn, job.node.id).await)
        .await?;
    match last {
        Some(upgrade) if upgrade.state == UpgradeState::Pulling => pull(job, &upgrade).await,
        Some(upgrade) if upgrade.state.is_open() => check(job, &upgrade).await,
        Some(_) | None => run::step(job).await,
    }
}

/// Brings the images of the new version to the machine, and starts it.
async fn pull(job: &Job<'_>, upgrade: &Upgrade) -> Result<Outcome, Halt> {
    // The old version goes on as ever: what it lacks comes first.
    let looked = run::step(job).await?;
    let job = &job.renewed().await?;
    if !job.node.state.keeps_upgrade() {
        return Ok(Outcome::Again);
    }
    let Some(here) = job.here().await? else {
        return Ok(Outcome::Again);
    };
    if here.placement.deploy_time.is_none() {
        return Ok(looked);
    }
    let brought = tokio::select! {
        brought = bring(job, &here, upgrade) => brought,
        halt = listen(job, &here) => Err(halt),
    };
    let to = &upgrade.to.version;
    match brought {
        Ok(()) => switch(job, &here, upgrade).await,
        Err(Halt::Fail(why)) => give_up(job, &why).await,
        Err(Halt::Wait(Outcome::Wait { reason, .. })) => {
            let why = format!("the images of version {to} are not there: {reason}");
            if berth_core::now() >= upgrade.gate.deadline {
                return give_up(job, &why).await;
            }
            job.note(Step::new("image", why.as_str())).await?;
            Ok(Outcome::wait(why, AGAIN))
        }
        Err(halt) => Err(halt),
    }
}

/// Goes on hearing of the old version while images come, which may take long.
/// Ends only where the work has to.
async fn listen(job: &Job<'_>, here: &Here) -> Halt {
    loop {
        tokio::time::sleep(job.context.options.watch).await;
        match run::listen(job, here).await {
            Ok(()) | Err(Halt::Wait(_) | Halt::Fail(_)) => {}
            Err(halt) => return halt,
        }
    }
}

async fn bring(job: &Job<'_>, here: &Here, upgrade: &Upgrade) -> Result<(), Halt> {
    let job = &job.with(&upgrade.to);
    let entry = job.entry().await?;
    let wanted = entry.requirements.get(&catalogue::role(job.node.role));
    let wanted = wanted.map(gates::requirements).unwrap_or_default();
    let missing = gates::missing(&wanted, &place::facts(&here.machine)?);
    if !missing.is_empty() {
        return Err(Halt::Fail(format!(
            "machine {} is not enough for version {}: {}",
            here.machine.name,
            upgrade.to.version,
            missing.join("; ")
        )));
    }
    let deployment = deploy::rendered(job, here).await?;
    let images = deployment.containers.iter().map(|c| c.image.to_string());
    for image in images.collect::<BTreeSet<_>>() {
        deliver::image(job, here, &deployment, &image).await?;
    }
    Ok(())
}

/// Ends an upgrade of which nothing has begun on the machine.
async fn give_up(job: &Job<'_>, why: &str) -> Result<Outcome, Halt> {
    job.commit(async |txn| store::upgrades::give_up(txn, &job.node, why).await)
        .await?;
    // Those of its images that did come; if not now, then with the next upgrade.
    if let Ok(Some(here)) = job.here().await {
        deploy::prune(job, &here).await.ok();
    }
    Ok(Outcome::Again)
}

/// Makes the new version what the node runs, where its machine has room for it.
async fn switch(job: &Job<'_>, here: &Here, upgrade: &Upgrade) -> Result<Outcome, Halt> {
    let (old, new) = (job.entry().await?, job.with(&upgrade.to).entry().await?);
    let own = share(job, here, &new);
    let share = here.placement.share.either(&own);
    let capacity = place::capacity(&place::facts(&here.machine)?);
    let machine = here.placement.machine_id;
    let why = format!(
        "version {} takes the place of {}",
        upgrade.to.version, upgrade.from.version
    );
    let next = Upgrade {
        gate: gate(job, &old, &new),
        ..upgrade.clone()
    };
    let switched = job
        .commit(async |txn| {
            let others = store::placements::shares_beside(txn, machine, job.node.id).await?;
            if let Some(shortage) = share.shortage(capacity, &others) {
                return Ok(Err(shortage));
            }
            if share.collides(&others) {
                let taken = "its new ports are taken by other nodes of the machine";
                return Ok(Err(taken.to_owned()));
            }
            let (id, event) = (job.node.id, UpgradeEvent::Switch);
            store::upgrades::apply(txn, id, &next, event, "").await?;
            let started = Started {
                side: &upgrade.to,
                share,
                step: "upgrade",
                why: &why,
            };
            start(txn, job, here, started).await.map(Ok)
        })
        .await?;
    match switched {
        Ok(()) => Ok(Outcome::Again),
        Err(why) => give_up(job, &why).await,
    }
}

/// What is started in the place of another version.
struct Started<'a> {
    side: &'a Side,
    share: Share,
    step: &'static str,
    why: &'a str,
}

/// Starts a version in the place of the other, under the next fence.
async fn start(
    txn: &mut PgConnection,
    job: &Job<'_>,
    here: &Here,
    started: Started<'_>,
) -> Result<()> {
    let node = store::nodes::set_side(txn, &job.node, started.side).await?;
    let node = store::nodes::apply(txn, &node, Event::Switch, started.why).await?;
    let place = Place {
        share: started.share,
        ..Place::from(&here.placement)
    };
    let placement = store::placements::advance(txn, &node, &place).await?;
    let message = format!("{} under fence {}", started.why, placement.fence);
    store::events::append(txn, &node, &Step::new(started.step, message)).await
}

/// What a version takes of the machine.
fn share(job: &Job<'_>, here: &Here, entry: &ChainEntry) -> Share {
    let offset = u16::try_from(here.placement.port_offset).unwrap_or_default();
    catalogue::share(entry, catalogue::role(job.node.role), offset)
}

/// How long what is started has: until the other version has stopped, and then
/// as long as its entry says.
fn gate(job: &Job<'_>, stops: &ChainEntry, starts: &ChainEntry) -> Gate {
    let role = catalogue::role(job.node.role);
    let lasts = catalogue::stops(stops, role) + catalogue::gate(starts);
    Gate::opened(berth_core::now(), lasts)
}

/// Looks whether what was started is healthy, and stays so.
async fn check(job: &Job<'_>, upgrade: &Upgrade) -> Result<Outcome, Halt> {
    let entry = job.entry().await?;
    let other = job.with(other(upgrade)).entry().await?;
    let job = &Job {
        stops: stops(job, &other),
        ..job.clone()
    };
    let (outcome, looked) = match run::look_after(job).await {
        Ok(Some(looked)) => (looked.outcome.clone(), Ok(looked)),
        Ok(None) => return Ok(Outcome::Again),
        // What hinders the start counts. Later it is only that nobody can look.
        Err(Halt::Wait(Outcome::Wait { reason, after })) if !stands(job).await? => {
            (Outcome::wait(reason.as_str(), after), Err(reason))
        }
        // There is nothing to wait for.
        Err(Halt::Fail(why)) => return missed(job, upgrade, &why, Miss::Broken).await,
        Err(halt) => return Err(halt),
    };
    let job = &job.renewed().await?;
    if !job.node.state.keeps_upgrade() {
        return Ok(Outcome::Again);
    }
    let steady = TimeDelta::seconds(entry.upgrade.steady_s.into());
    let (next, ruling) = upgrade.gate.judge(&look(&looked), steady);
    match ruling {
        Ruling::Pass => pass(job, upgrade).await,
        Ruling::Miss(why) => missed(job, upgrade, &why, Miss::Late).await,
        Ruling::Wait => {
            wait(job, &next, steady).await?;
            Ok(sooner(outcome))
        }
    }
}

/// Whether all of what was started stands on its machine.
async fn stands(job: &Job<'_>) -> Result<bool> {
    let current = job
        .read(async |conn| store::placements::current(conn, job.node.id).await)
        .await?;
    Ok(current.is_some_and(|placement| placement.deploy_time.is_some()))
}

/// Why what was started does not pass.
#[derive(Clone, Copy)]
enum Miss {
    /// It was not healthy in time, and may yet be.
    Late,
    /// It cannot be started.
    Broken,
}

/// The version that does not run.
fn other(upgrade: &Upgrade) -> &Side {
    match upgrade.state {
        UpgradeState::RollingBack => &upgrade.to,
        UpgradeState::Pulling
        | UpgradeState::Checking
        | UpgradeState::Done
        | UpgradeState::RolledBack
        | UpgradeState::GivenUp
        | UpgradeState::Failed => &upgrade.from,
    }
}

/// How long the components of a version get to stop.
fn stops(job: &Job<'_>, entry: &ChainEntry) -> BTreeMap<String, Duration> {
    let components = entry.components_of(catalogue::role(job.node.role));
    components
        .map(|c| (c.name.clone(), Duration::from_secs(c.stop_timeout_s.into())))
        .collect()
}

fn look(looked: &Result<Looked, String>) -> Look<'_> {
    let now = berth_core::now();
    match looked {
        Ok(looked) => Look {
            now,
            answers: match &looked.verdict {
                Verdict::Good(_) => Ok(()),
                Verdict::Bad(why) => Err(why),
            },
            health: looked.health,
            height: looked.height,
            restarts: looked.restarts,
        },
        Err(why) => Look {
            now,
            answers: Err(why),
            health: Health::Unknown,
            height: None,
            restarts: None,
        },
    }
}

/// Keeps what was seen, and tells how long it has stayed healthy.
async fn wait(job: &Job<'_>, gate: &Gate, steady: TimeDelta) -> Result<()> {
    let told = gate.steady_time.map(|since| {
        let stayed = (gate.look_time - since).num_seconds() * 100;
        let percent = stayed / steady.num_seconds().max(1);
        let message = format!("healthy, and has to stay so for {} s", steady.num_seconds());
        Step {
            percent: u8::try_from(percent.clamp(0, 99)).ok(),
            ..Step::new("gate", message)
        }
    });
    job.commit(async |txn| {
        store::upgrades::set_gate(txn, job.node.id, gate).await?;
        match told {
            Some(step) => store::events::append(txn, &job.node, &step).await,
            None => Ok(()),
        }
    })
    .await
}

/// The same, but waiting no longer than the next look at a gate may.
fn sooner(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Wait { reason, after } => Outcome::wait(reason, after.min(LOOK)),
        Outcome::Again | Outcome::Done => Outcome::Again,
    }
}

/// Ends an upgrade, or its way back, with a healthy node.
async fn pass(job: &Job<'_>, upgrade: &Upgrade) -> Result<Outcome, Halt> {
    let step = if upgrade.state == UpgradeState::RollingBack {
        let message = format!("version {} runs again and is healthy", upgrade.from.version);
        Step::new("rollback", message)
    } else {
        let message = format!("version {} runs and is healthy", upgrade.to.version);
        Step::new("upgrade", message)
    };
    let entry = job.entry().await?;
    let Some(here) = job.here().await? else {
        return Ok(Outcome::Again);
    };
    deploy::prune(job, &here).await?;
    let (id, share) = (here.placement.id, share(job, &here, &entry));
    job.commit(async |txn| {
        let (event, why) = (UpgradeEvent::Pass, &upgrade.reason);
        store::upgrades::apply(txn, job.node.id, upgrade, event, why).await?;
        store::placements::set_share(txn, id, &share).await?;
        store::events::append(txn, &job.node, &step).await
    })
    .await?;
    Ok(Outcome::Again)
}

/// Goes back where that is known to be possible, and else leaves it to a person.
async fn missed(job: &Job<'_>, upgrade: &Upgrade, why: &str, miss: Miss) -> Result<Outcome, Halt> {
    let job = &job.renewed().await?;
    if !job.node.state.keeps_upgrade() {
        return Ok(Outcome::Again);
    }
    let (from, to) = (&upgrade.from.version, &upgrade.to.version);
    let problem = match miss {
        Miss::Late => format!("was not healthy in time: {why}"),
        Miss::Broken => format!("cannot be started: {why}"),
    };
    if upgrade.state == UpgradeState::RollingBack {
        let why = format!("version {from} {problem}; before that, {}", upgrade.reason);
        return fail(job, upgrade, Event::Fail, &why).await;
    }
    let problem = format!("version {to} {problem}");
    if upgrade.reversible {
        return go_back(job, upgrade, &problem).await;
    }
    let problem = format!("{problem}. Version {from} is not known to read its data");
    match miss {
        Miss::Late => {
            let why = format!(
                "{problem}, so it goes on: look into `berth node logs`, and take it to a version \
                 that works with `berth node upgrade`"
            );
            fail(job, upgrade, Event::Overdue, &why).await
        }
        Miss::Broken => {
            let why = format!("{problem}: register a version that works, and retry the node");
            fail(job, upgrade, Event::Fail, &why).await
        }
    }
}

/// Ends an upgrade that needs a person.
async fn fail(job: &Job<'_>, upgrade: &Upgrade, event: Event, why: &str) -> Result<Outcome, Halt> {
    job.commit(async |txn| {
        store::upgrades::apply(txn, job.node.id, upgrade, UpgradeEvent::Fail, why).await?;
        store::nodes::apply(txn, &job.node, event, why).await
    })
    .await?;
    Ok(Outcome::Again)
}

/// Starts the old version again on what the new one left.
async fn go_back(job: &Job<'_>, upgrade: &Upgrade, problem: &str) -> Result<Outcome, Halt> {
    let Some(here) = job.here().await? else {
        return Ok(Outcome::Again);
    };
    let (new, old) = (job.entry().await?, job.with(&upgrade.from).entry().await?);
    let next = Upgrade {
        gate: gate(job, &new, &old),
        ..upgrade.clone()
    };
    let why = format!("going back to version {}: {problem}", upgrade.from.version);
    job.commit(async |txn| {
        let (id, event) = (job.node.id, UpgradeEvent::Return);
        store::upgrades::apply(txn, id, &next, event, problem).await?;
        let started = Started {
            side: &upgrade.from,
            // It is that of either version until one of them has passed.
            share: here.placement.share.clone(),
            step: "rollback",
            why: &why,
        };
        start(txn, job, &here, started).await
    })
    .await?;
    Ok(Outcome::Again)
}
