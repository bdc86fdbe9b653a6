//! What the other services ask and report.

use super::super::pb;
use super::{bytes, facts};
use crate::domain::{
    HostKey, MAX_TERM, MIN_TERM, Machine, Requirements, Verification, Wipe, Wish, Work,
    driver_version,
};
use berth_core::{LeaseId, MachineId, Name, Result, Violations};
use berth_proto::api::v1 as api_pb;
use berth_runtime::wire;
use chrono::TimeDelta;

/// Longest problem.
const PROBLEM: usize = 1000;
/// Longest report of a wipe.
const REPORT: usize = 4000;
/// Most CPU flags that work may ask for.
const FLAGS: usize = 64;

/// Which machine which lease wants, and for how long.
pub(in super::super) fn wish(
    request: &pb::ReserveMachineRequest,
) -> Result<(LeaseId, Wish, TimeDelta)> {
    let mut violations = Violations::default();
    let lease = violations.absorb(wire::parse("lease_id", &request.lease_id))?;
    let term = violations.absorb(
        wire::required("term", request.term)
            .and_then(|term| wire::span("term", term, MIN_TERM, MAX_TERM)),
    )?;
    let wish = if request.offer_id.is_empty() {
        let max_price = violations.absorb(
            wire::required("max_price_per_hour", request.max_price_per_hour.as_ref())
                .and_then(|price| wire::positive_money("max_price_per_hour", price)),
        )?;
        let requirements = request.requirements.clone().unwrap_or_default();
        let requirements = requirements_of(&mut violations, requirements);
        max_price.map(|max_price| Wish::Cheapest {
            requirements,
            max_price,
        })
    } else {
        let offer = violations.absorb(wire::parse("offer_id", &request.offer_id))?;
        offer.map(Wish::Offer)
    };
    let all = || Some((lease?, wish?, term?));
    violations.finish(all())
}

fn requirements_of(violations: &mut Violations, needs: api_pb::Requirements) -> Requirements {
    if needs.cpu_flags.len() > FLAGS {
        violations.add("requirements.cpu_flags", format!("holds more than {FLAGS}"));
    }
    for (at, flag) in needs.cpu_flags.iter().take(FLAGS).enumerate() {
        let field = format!("requirements.cpu_flags[{at}]");
        let _: Option<Name> = violations.check(field, flag.parse());
    }
    let gpu_driver = match needs.gpu_driver.as_str() {
        "" => Vec::new(),
        version => driver_version(version).unwrap_or_else(|| {
            violations.add(
                "requirements.gpu_driver",
                "expected a version such as `555` or `555.42.06`",
            );
            Vec::new()
        }),
    };
    let mut size = |field, value| bytes(violations, field, value);
    Requirements {
        cpu_cores: needs.cpu_cores.into(),
        memory_bytes: size("requirements.memory_bytes", needs.memory_bytes),
        disk_bytes: size("requirements.disk_bytes", needs.disk_bytes),
        read_iops: needs.disk_read_iops.into(),
        write_iops: needs.disk_write_iops.into(),
        cpu_flags: needs.cpu_flags,
        gpu_count: needs.gpu_count.into(),
        gpu_memory: size("requirements.gpu_memory_bytes", needs.gpu_memory_bytes),
        gpu_driver,
        smt_off: needs.smt_off,
    }
}

/// One machine that waits for provisioning.
pub(in super::super) fn work(machine: Machine) -> pb::MachineWork {
    let kind = match machine.work() {
        Some(Work::Wipe) => pb::machine_work::Kind::Wipe,
        Some(Work::Measure) => pb::machine_work::Kind::Verify,
        None => pb::machine_work::Kind::Unspecified,
    };
    pb::MachineWork {
        kind: kind.into(),
        attempt: machine.attempt,
        machine: Some(machine.into()),
    }
}

/// Which attempt on which machine ended how.
pub(in super::super) fn verification(
    request: pb::RecordVerificationRequest,
) -> Result<(MachineId, i64, Verification)> {
    let mut violations = Violations::default();
    let id = violations.absorb(wire::parse("machine_id", &request.machine_id))?;
    attempt(&mut violations, request.attempt);
    let host_key: Option<Option<HostKey>> =
        violations.absorb(wire::parse_optional("host_key", &request.host_key))?;
    let problem = line(&request.problem, PROBLEM);
    let result = match (problem, request.transient, request.facts) {
        (Some(problem), true, _) => Some(Verification::Delayed(problem)),
        (Some(problem), false, _) => Some(Verification::Failed(problem)),
        (None, _, Some(measured)) => {
            let facts = Box::new(facts::facts(&mut violations, measured));
            host_key.map(|host_key| Verification::Measured { facts, host_key })
        }
        (None, _, None) => {
            violations.add("facts", "is required unless `problem` is set");
            None
        }
    };
    let all = || Some((id?, request.attempt, result?));
    violations.finish(all())
}

/// Which attempt on which machine ended how.
pub(in super::super) fn wipe(request: &pb::RecordWipeRequest) -> Result<(MachineId, i64, Wipe)> {
    let mut violations = Violations::default();
    let id = violations.absorb(wire::parse("machine_id", &request.machine_id))?;
    attempt(&mut violations, request.attempt);
    let result = match line(&request.problem, PROBLEM) {
        Some(problem) if request.transient => Wipe::Delayed(problem),
        Some(problem) => Wipe::Failed(problem),
        None => Wipe::Done {
            report: line(&request.report, REPORT).unwrap_or_default(),
        },
    };
    violations.finish(id.map(|id| (id, request.attempt, result)))
}

/// Attempts are counted from one.
fn attempt(violations: &mut Violations, attempt: i64) {
    if attempt < 1 {
        violations.add("attempt", "must be at least 1");
    }
}

/// Which machine has which problem.
pub(in super::super) fn problem(
    request: &pb::ReportMachineProblemRequest,
) -> Result<(MachineId, String)> {
    let mut violations = Violations::default();
    let id = violations.absorb(wire::parse("machine_id", &request.machine_id))?;
    let problem = line(&request.problem, PROBLEM);
    if problem.is_none() {
        violations.add("problem", "is required");
    }
    violations.finish(id.zip(problem))
}

/// A problem for people on one line, cut where it is too long: it may quote
/// what a machine said, and the report of a failure must not fail for that.
fn line(text: &str, max: usize) -> Option<String> {
    let text: String = text
        .chars()
        .map(|c| if berth_core::is_control(c) { ' ' } else { c })
        .take(max)
        .collect();
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
