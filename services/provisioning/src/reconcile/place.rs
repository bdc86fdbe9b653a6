//! PENDING and PLACING: a lease, a machine that passes the chain's gates, and
//! a placement there under the next fence.

use super::halt::asked;
use super::job::Job;
use super::{Halt, gates, lease};
use crate::catalogue;
use crate::domain::{Capacity, Event, Source, Step};
use crate::store;
use crate::store::placements::Place;
use berth_core::{LeaseId, MachineId, Result};
use berth_proto::inventory::v1::{Facts, Machine};
use berth_proto::leasing::v1 as leasing;
use berth_provisioner::chain::ChainEntry;
use berth_runtime::reconcile::Outcome;
use berth_runtime::wire;
use sqlx::PgConnection;
use std::time::Duration;
use tonic::Code;

/// How far the ports of a node are from those of the next on its machine, and
/// how many nodes of the same ports a machine takes.
const PORT_STEP: u16 = 100;
const PORT_STEPS: u16 = 64;

/// How often to ask whether a lease is active.
const ASK: Duration = Duration::from_secs(1);
/// How long to wait for a machine or for money.
const ASK_LATER: Duration = Duration::from_secs(10);

/// One step.
pub(super) async fn step(job: &Job<'_>) -> Result<Outcome, Halt> {
    let job = &job.apply(Event::Place, "").await?;
    let entry = job.entry().await?;
    let role = catalogue::role(job.node.role);
    let (lease_id, lease) = find_lease(job, &entry).await?;
    if let Some(why) = lease::never_began(lease.as_ref()).filter(|_| job.node.owns_lease()) {
        return ask_later(job, &why).await;
    }
    if let Some(over) = lease::over(lease.as_ref()) {
        return give_up(job, None, &over).await;
    }
    let status = lease.and_then(|lease| lease.status).unwrap_or_default();
    if status.state() == leasing::lease_status::State::Pending {
        let reason = if status.status_reason.is_empty() {
            "waiting for the lease".to_owned()
        } else {
            status.status_reason
        };
        return Ok(Outcome::wait(reason, ASK));
    }

    let machine_id = wire::parse("machine_id", &status.machine_id)?;
    let machine = job.context.others.machine(machine_id).await?;
    if let Some(why) = cordoned(job, &machine, machine_id).await? {
        if job.node.owns_lease() {
            lease::give_back(job.context, &job.node, lease_id).await?;
            return ask_later(job, &why).await;
        }
        return give_up(job, Some(lease_id), &why).await;
    }
    let facts = facts(&machine)?;
    job.note(Step::new(
        "gates",
        format!("checking machine {}", machine.name),
    ))
    .await?;
    let wanted = entry.requirements.get(&role).map(gates::requirements);
    let missing = gates::missing(&wanted.unwrap_or_default(), &facts);
    if !missing.is_empty() {
        let why = format!(
            "machine {} is not enough for chain `{}`: {}; launch the node on another machine",
            machine.name,
            entry.name,
            missing.join("; ")
        );
        return give_up(job, Some(lease_id), &why).await;
    }
    let place = Place {
        machine_id,
        lease_id,
        share: catalogue::share(&entry, role, 0),
        port_offset: 0,
    };
    let placed = job
        .commit(async |txn| place_beside(txn, job, &entry, place, capacity(&facts)).await)
        .await?;
    match placed {
        Ok(()) => Ok(Outcome::Again),
        Err(shortage) => {
            let why = format!("{shortage}; launch the node on another lease");
            give_up(job, Some(lease_id), &why).await
        }
    }
}

/// Why a cordoned machine does not take the node. One that stood there already
/// may come back: its data is there.
async fn cordoned(job: &Job<'_>, machine: &Machine, id: MachineId) -> Result<Option<String>> {
    if !machine
        .status
        .as_ref()
        .is_some_and(|status| status.cordoned)
    {
        return Ok(None);
    }
    let latest = job
        .read(async |conn| store::placements::latest(conn, job.node.id).await)
        .await?;
    let stood = latest.is_some_and(|latest| latest.machine_id == id);
    Ok((!stood).then(|| {
        format!(
            "machine {} is cordoned and takes no new node; launch it on another machine, or ask \
             the supplier to uncordon this one",
            machine.name
        )
    }))
}

/// Makes the placement beside the other nodes of the machine, or says what the
/// machine is short of.
async fn place_beside(
    txn: &mut PgConnection,
    job: &Job<'_>,
    entry: &ChainEntry,
    place: Place,
    capacity: Capacity,
) -> Result<Result<(), String>> {
    let others = store::placements::shares_beside(txn, place.machine_id, job.node.id).await?;
    if let Some(shortage) = place.share.shortage(capacity, &others) {
        return Ok(Err(shortage));
    }
    let role = catalogue::role(job.node.role);
    let mut offsets = (0..PORT_STEPS).map(|n| n * PORT_STEP);
    let free = |offset: &u16| !catalogue::share(entry, role, *offset).collides(&others);
    let Some(offset) = offsets.find(free) else {
        return Ok(Err("its ports are all taken by other nodes".to_owned()));
    };
    let place = Place {
        share: catalogue::share(entry, role, offset),
        port_offset: offset.into(),
        ..place
    };
    let placement = store::placements::advance(txn, &job.node, &place).await?;
    let step = Step::new(
        "place",
        format!("on {} under fence {}", place.machine_id, placement.fence),
    );
    store::events::append(txn, &job.node, &step).await?;
    store::nodes::apply(txn, &job.node, Event::Launch, "").await?;
    Ok(Ok(()))
}

pub(super) fn capacity(facts: &Facts) -> Capacity {
    Capacity {
        cpu_millis: i64::from(facts.cpu_cores) * 1000,
        memory_bytes: i64::try_from(facts.memory_bytes).unwrap_or(i64::MAX),
        gpus: i32::try_from(facts.gpus.len()).unwrap_or(i32::MAX),
    }
}

/// The lease to run under: the owner's, the one that was made, or a new one.
async fn find_lease(
    job: &Job<'_>,
    entry: &ChainEntry,
) -> Result<(LeaseId, Option<leasing::Lease>), Halt> {
    let node = &job.node;
    let known = match node.source {
        Source::Lease(lease) => Some(lease),
        Source::Offer(_) | Source::Price(_) => node.lease_id,
    };
    let (id, found) = match known {
        Some(id) => (id, lease::get(job.context, node.account_id, id).await?),
        None => {
            job.commit(async |txn| store::nodes::set_asked(txn, node).await)
                .await?;
            job.note(Step::new("lease", "asking for a machine")).await?;
            match lease::ask(job.context, node, entry).await {
                Ok(made) => {
                    let made = made.unwrap_or_default();
                    (wire::parse("lease_id", &made.id)?, Some(made))
                }
                Err(status) if status.code() == Code::ResourceExhausted => {
                    return Err(Halt::Wait(ask_later(job, status.message()).await?));
                }
                Err(status) => return Err(asked("leasing")(status)),
            }
        }
    };
    if node.lease_id == Some(id) {
        return Ok((id, found));
    }
    job.commit(async |txn| store::nodes::set_lease(txn, node, Some(id)).await)
        .await?;
    // The node changed: the next step goes on with it.
    Err(Halt::Wait(Outcome::Again))
}

/// Waits for a machine or for money. The next request is another one, since a
/// repeat of this one would get this answer.
async fn ask_later(job: &Job<'_>, why: &str) -> Result<Outcome, Halt> {
    job.commit(async |txn| store::nodes::set_lease(txn, &job.node, None).await)
        .await?;
    Ok(Outcome::wait(why, ASK_LATER))
}

/// Fails the node without a machine, and gives back the lease that was made for it.
async fn give_up(job: &Job<'_>, lease: Option<LeaseId>, why: &str) -> Result<Outcome, Halt> {
    if let Some(id) = lease.filter(|_| job.node.owns_lease()) {
        lease::give_back(job.context, &job.node, id).await?;
    }
    job.commit(async |txn| lease::end(txn, &job.node, why).await)
        .await?;
    Ok(Outcome::Again)
}

pub(super) fn facts(machine: &Machine) -> Result<Facts, Halt> {
    let facts = machine
        .status
        .as_ref()
        .and_then(|status| status.facts.clone());
    facts.ok_or_else(|| Halt::wait(format!("machine {} was not measured yet", machine.name)))
}
