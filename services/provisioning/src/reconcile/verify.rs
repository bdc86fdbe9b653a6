//! VERIFYING: reaches a machine that was wiped, measures it, and tells inventory.

use super::halt::{Halt, asked, may_pass};
use super::{Context, target};
use berth_core::Result;
use berth_proto::inventory::v1 as pb;
use berth_provisioner::facts::Facts;
use berth_provisioner::{Error as SiteError, HostKey};
use berth_runtime::clients;
use berth_runtime::reconcile::Outcome;
use std::time::Duration;

/// How long to wait for a machine that cannot be reached.
const RETRY: Duration = Duration::from_secs(5);
/// Longest problem, in characters.
const MAX_PROBLEM: usize = 1000;

/// One step.
pub(super) async fn step(context: &Context, work: &pb::MachineWork) -> Result<Outcome, Halt> {
    let machine = work.machine.clone().unwrap_or_default();
    let mut record = pb::RecordVerificationRequest {
        machine_id: machine.id.clone(),
        attempt: work.attempt,
        ..pb::RecordVerificationRequest::default()
    };
    match measure(context, &machine).await {
        Ok((facts, host_key)) => {
            record.facts = Some(from_facts(facts));
            record.host_key = host_key;
        }
        Err(Measure::Site(error)) => {
            record.problem = text(&error);
            record.transient = may_pass(&error);
        }
        Err(Measure::Halt(halt)) => return Err(halt),
    }
    let again = record.transient;
    let reason = record.problem.clone();
    let answer = context
        .others
        .fleet
        .clone()
        .record_verification(clients::request(record))
        .await;
    answer.map_err(asked("inventory"))?;
    Ok(if again {
        Outcome::wait(reason, RETRY)
    } else {
        Outcome::Done
    })
}

enum Measure {
    Site(SiteError),
    Halt(Halt),
}

impl From<SiteError> for Measure {
    fn from(error: SiteError) -> Self {
        Self::Site(error)
    }
}

async fn measure(context: &Context, machine: &pb::Machine) -> Result<(Facts, String), Measure> {
    let mut at = target(machine).map_err(|error| Measure::Halt(error.into()))?;
    // Inventory gets the whole key where it only knew the fingerprint.
    if let HostKey::Fingerprint(_) = at.host_key {
        let shown = context.site.scan(&at.address).await?;
        if shown.fingerprint() != at.host_key.fingerprint() {
            return Err(Measure::Site(SiteError::HostKeyChanged {
                expected: at.host_key.fingerprint().to_string(),
                seen: shown.fingerprint().to_string(),
            }));
        }
        at.host_key = shown;
    }
    let facts = context.site.measure(&at).await?;
    Ok((facts, at.host_key.to_string()))
}

/// A problem for people, as long as inventory takes it.
pub(super) fn text(error: &SiteError) -> String {
    berth_core::report(error)
        .chars()
        .take(MAX_PROBLEM)
        .collect()
}

fn from_facts(facts: Facts) -> pb::Facts {
    pb::Facts {
        cpu_model: facts.cpu_model,
        cpu_cores: facts.cpu_cores,
        smt: facts.smt,
        cpu_flags: facts.cpu_flags,
        memory_bytes: facts.memory_bytes,
        disks: facts
            .disks
            .into_iter()
            .map(|disk| pb::Disk {
                mount: disk.mount,
                size_bytes: disk.size_bytes,
                free_bytes: disk.free_bytes,
                read_iops: disk.read_iops,
                write_iops: disk.write_iops,
            })
            .collect(),
        nics: facts
            .nics
            .into_iter()
            .map(|nic| pb::Nic {
                name: nic.name,
                speed_mbit: nic.speed_mbit,
                addresses: nic.addresses,
            })
            .collect(),
        kernel: facts.kernel,
        os: facts.os,
        docker_version: facts.docker_version,
        gpus: facts
            .gpus
            .into_iter()
            .map(|gpu| pb::Gpu {
                model: gpu.model,
                uuid: gpu.uuid,
                memory_bytes: gpu.memory_bytes,
                driver: gpu.driver,
                cuda: gpu.cuda,
            })
            .collect(),
        clock_offset_ms: facts.clock_offset_ms,
    }
}
