//! Leases and what accounts ask for.

use super::super::pb;
use crate::domain::{
    CloseReason, Lease, MAX_TERM, MIN_TERM, NewLease, Requirements, State, Wish, is_driver_version,
};
use berth_core::{AccountId, Error, LeaseId, Name, Result, Violations};
use berth_proto::api::v1 as api_pb;
use berth_runtime::auth::Peer;
use berth_runtime::wire;
use chrono::{DateTime, TimeDelta, Utc};

/// Term of a lease that names none.
const TERM: TimeDelta = TimeDelta::hours(24);
/// Longest display name.
const DISPLAY_NAME: usize = 63;
/// Most CPU flags.
const FLAGS: usize = 64;

/// What a request to create asks for.
pub(in super::super) fn new_lease(
    account_id: AccountId,
    spec: Option<&pb::LeaseSpec>,
) -> Result<NewLease> {
    let mut violations = Violations::default();
    let Some(spec) = spec else {
        violations.add("spec", "is required");
        return violations.finish(None);
    };
    let wish = wish(&mut violations, spec)?;
    let term = match spec.term {
        Some(term) => violations.absorb(wire::span("spec.term", term, MIN_TERM, MAX_TERM))?,
        None => Some(TERM),
    };
    let display_name = violations.check(
        "spec.display_name",
        berth_core::text(&spec.display_name, DISPLAY_NAME),
    );
    let new = || {
        Some(NewLease {
            account_id,
            wish: wish?,
            term: term?,
            display_name: display_name?,
        })
    };
    violations.finish(new())
}

fn wish(violations: &mut Violations, spec: &pb::LeaseSpec) -> Result<Option<Wish>> {
    if !spec.offer_id.is_empty() {
        let offer = violations.absorb(wire::parse("spec.offer_id", &spec.offer_id))?;
        return Ok(offer.map(Wish::Offer));
    }
    let requirements = spec.requirements.clone().unwrap_or_default();
    let requirements = requirements_of(violations, requirements);
    let Some(price) = &spec.max_price_per_hour else {
        violations.add(
            "spec.max_price_per_hour",
            "is required unless `offer_id` is set",
        );
        return Ok(None);
    };
    let max_price = violations.absorb(wire::positive_money("spec.max_price_per_hour", price))?;
    Ok(max_price.map(|max_price| Wish::Cheapest {
        requirements,
        max_price,
    }))
}

fn requirements_of(violations: &mut Violations, needs: api_pb::Requirements) -> Requirements {
    let sizes = [
        ("memory_bytes", needs.memory_bytes),
        ("disk_bytes", needs.disk_bytes),
        ("gpu_memory_bytes", needs.gpu_memory_bytes),
    ];
    for (field, _) in sizes
        .iter()
        .filter(|(_, size)| i64::try_from(*size).is_err())
    {
        violations.add(
            format!("spec.requirements.{field}"),
            "must be at most 9223372036854775807",
        );
    }
    if needs.cpu_flags.len() > FLAGS {
        violations.add(
            "spec.requirements.cpu_flags",
            format!("holds more than {FLAGS}"),
        );
    }
    for (at, flag) in needs.cpu_flags.iter().take(FLAGS).enumerate() {
        let field = format!("spec.requirements.cpu_flags[{at}]");
        let _: Option<Name> = violations.check(field, flag.parse());
    }
    if !needs.gpu_driver.is_empty() && !is_driver_version(&needs.gpu_driver) {
        violations.add(
            "spec.requirements.gpu_driver",
            "expected a version such as `555` or `555.42.06`",
        );
    }
    Requirements {
        cpu_cores: needs.cpu_cores,
        memory_bytes: needs.memory_bytes,
        disk_bytes: needs.disk_bytes,
        disk_read_iops: needs.disk_read_iops,
        disk_write_iops: needs.disk_write_iops,
        cpu_flags: needs.cpu_flags,
        gpu_count: needs.gpu_count,
        gpu_memory_bytes: needs.gpu_memory_bytes,
        gpu_driver: needs.gpu_driver,
        smt_off: needs.smt_off,
    }
}

/// Which lease is to end how much later.
pub(in super::super) fn extension(
    request: &pb::ExtendLeaseRequest,
) -> Result<(LeaseId, TimeDelta)> {
    let mut violations = Violations::default();
    let id = violations.absorb(wire::parse("lease_id", &request.lease_id))?;
    let by = violations.absorb(
        wire::required("by", request.by).and_then(|by| wire::span("by", by, MIN_TERM, MAX_TERM)),
    )?;
    violations.finish(id.zip(by))
}

/// Why a caller ends a lease, for programs and for people.
pub(in super::super) fn end_reason(
    reason: i32,
    peer: Option<&Peer>,
) -> Result<(CloseReason, &'static str)> {
    use pb::lease_status::CloseReason as Wire;
    let wrong = |problem| Err(Error::invalid("reason", problem));
    let Ok(reason) = Wire::try_from(reason) else {
        return wrong("is not a known reason");
    };
    let is_provisioning =
        matches!(peer, Some(Peer::Service(role)) if role.as_str() == "provisioning");
    match reason {
        Wire::Unspecified | Wire::Owner => Ok((CloseReason::Owner, "ended by its account")),
        Wire::MachineLost if is_provisioning => {
            Ok((CloseReason::MachineLost, "its machine was lost"))
        }
        Wire::MachineLost => wrong("only provisioning may name MACHINE_LOST"),
        Wire::Expired | Wire::InsufficientFunds | Wire::Supplier | Wire::NoCapacity => {
            wrong("must be OWNER or absent")
        }
    }
}

/// The state that a list is to show; unspecified means all.
pub(in super::super) fn state(field: &str, value: i32) -> Result<Option<State>> {
    use pb::lease_status::State as Wire;
    let wire = Wire::try_from(value).map_err(|_| Error::invalid(field, "is not a known state"))?;
    Ok(match wire {
        Wire::Unspecified => None,
        Wire::Pending => Some(State::Pending),
        Wire::Active => Some(State::Active),
        Wire::Ending => Some(State::Ending),
        Wire::Closed => Some(State::Closed),
    })
}

/// A lease as it is at a time, with what its account was told of it.
pub(in super::super) fn lease(
    lease: Lease,
    warnings: Vec<String>,
    now: DateTime<Utc>,
) -> pb::Lease {
    let reconciling = lease.is_reconciling();
    let cost = lease.cost(now);
    let grant = lease.grant;
    let mut spec = pb::LeaseSpec {
        term: Some(wire::duration(lease.term)),
        display_name: lease.display_name,
        ..Default::default()
    };
    match lease.wish {
        Wish::Offer(offer) => spec.offer_id = offer.to_string(),
        Wish::Cheapest {
            requirements,
            max_price,
        } => {
            spec.requirements = Some(requirements.into());
            spec.max_price_per_hour = Some(wire::money(max_price));
        }
    }
    let close_reason = lease.close_reason.map(pb::lease_status::CloseReason::from);
    let text = |id: Option<String>| id.unwrap_or_default();
    pb::Lease {
        id: lease.id.to_string(),
        etag: wire::etag(lease.version),
        create_time: Some(wire::timestamp(lease.create_time)),
        spec: Some(spec),
        status: Some(pb::LeaseStatus {
            state: pb::lease_status::State::from(lease.state).into(),
            status_reason: lease.status_reason,
            close_reason: close_reason.unwrap_or_default().into(),
            machine_id: text(grant.map(|grant| grant.machine_id.to_string())),
            offer_id: text(grant.map(|grant| grant.offer_id.to_string())),
            price_per_hour: grant.map(|grant| wire::money(grant.price)),
            start_time: lease.start_time.map(wire::timestamp),
            expire_time: lease.expire_time.map(wire::timestamp),
            end_time: lease.end_time.map(wire::timestamp),
            cost: cost.map(wire::money),
            warnings,
        }),
        reconciling,
    }
}

impl From<State> for pb::lease_status::State {
    fn from(state: State) -> Self {
        match state {
            State::Pending => Self::Pending,
            State::Active => Self::Active,
            State::Ending => Self::Ending,
            State::Closed => Self::Closed,
        }
    }
}

impl From<CloseReason> for pb::lease_status::CloseReason {
    fn from(reason: CloseReason) -> Self {
        match reason {
            CloseReason::Owner => Self::Owner,
            CloseReason::Expired => Self::Expired,
            CloseReason::InsufficientFunds => Self::InsufficientFunds,
            CloseReason::Supplier => Self::Supplier,
            CloseReason::MachineLost => Self::MachineLost,
            CloseReason::NoCapacity => Self::NoCapacity,
        }
    }
}
