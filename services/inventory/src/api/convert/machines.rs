//! Machines, what suppliers state about them, and their states.

use super::super::pb;
use super::{bytes, text};
use crate::domain::{Address, Claim, Edit, HostKey, Machine, NewMachine, State};
use berth_core::{Error, Name, Result, SupplierId, Violations};
use berth_runtime::wire;

/// User that Berth signs in as, when the supplier names none.
const LOGIN: &str = "berth";
/// Longest region.
const REGION: usize = 63;
/// Most processors and GPUs that a supplier can claim.
const MOST: (u32, u32) = (65_536, 1024);
/// Longest GPU model.
const MODEL: usize = 128;

/// A machine to enroll, whose supplier is still to be found.
pub(in super::super) struct Stated {
    /// Identifier or name.
    pub(in super::super) supplier: String,
    name: Name,
    address: Address,
    login: Name,
    host_key: HostKey,
    claim: Claim,
    region: String,
}

impl Stated {
    /// The machine of this supplier.
    pub(in super::super) fn machine(&self, supplier_id: SupplierId) -> NewMachine {
        NewMachine {
            supplier_id,
            name: self.name.clone(),
            address: self.address.clone(),
            login: self.login.clone(),
            host_key: self.host_key.clone(),
            claim: self.claim.clone(),
            region: self.region.clone(),
        }
    }
}

/// What a request to enroll states.
pub(in super::super) fn stated(request: &pb::EnrollMachineRequest) -> Result<Stated> {
    let mut violations = Violations::default();
    let name = violations.absorb(wire::parse("name", &request.name))?;
    let Some(spec) = &request.spec else {
        violations.add("spec", "is required");
        return violations.finish(None);
    };
    if spec.supplier_id.is_empty() {
        violations.add("spec.supplier_id", "is required");
    }
    let address = violations.absorb(wire::parse("spec.address", &spec.address))?;
    let login = violations.absorb(login(spec))?;
    let host_key = violations.absorb(wire::parse("spec.host_key", &spec.host_key))?;
    let claim = claim(&mut violations, spec);
    let region = text(&mut violations, "spec.region", &spec.region, REGION);
    let stated = || {
        Some(Stated {
            supplier: spec.supplier_id.clone(),
            name: name?,
            address: address?,
            login: login?,
            host_key: host_key?,
            claim,
            region,
        })
    };
    violations.finish(stated())
}

/// What a request to update changes.
pub(in super::super) fn edit(request: &pb::UpdateMachineRequest) -> Result<Edit> {
    let mut violations = Violations::default();
    let mut edit = Edit::default();
    let spec = request.spec.clone().unwrap_or_default();
    let paths = request
        .update_mask
        .as_ref()
        .map_or(&[][..], |mask| &mask.paths);
    if paths.is_empty() {
        violations.add("update_mask", "name at least one field of `spec`");
    }
    for path in paths {
        match path.as_str() {
            "address" => {
                edit.address = violations.absorb(wire::parse("spec.address", &spec.address))?;
            }
            "user" => edit.login = violations.absorb(login(&spec))?,
            "host_key" => {
                edit.host_key = violations.absorb(wire::parse("spec.host_key", &spec.host_key))?;
            }
            "claim" => edit.claim = Some(claim(&mut violations, &spec)),
            "region" => {
                edit.region = Some(text(&mut violations, "spec.region", &spec.region, REGION));
            }
            "supplier_id" => violations.add("update_mask", "`supplier_id` cannot change"),
            _ => violations.add(
                "update_mask",
                "holds a path other than `address`, `user`, `host_key`, `claim` and `region`",
            ),
        }
    }
    violations.finish(Some(edit))
}

fn login(spec: &pb::MachineSpec) -> Result<Name> {
    let user = if spec.user.is_empty() {
        LOGIN
    } else {
        &spec.user
    };
    wire::parse("spec.user", user)
}

fn claim(violations: &mut Violations, spec: &pb::MachineSpec) -> Claim {
    let claim = spec.claim.clone().unwrap_or_default();
    for (field, given, most) in [
        ("spec.claim.cpu_cores", claim.cpu_cores, MOST.0),
        ("spec.claim.gpu_count", claim.gpu_count, MOST.1),
    ] {
        if given > most {
            violations.add(field, format!("must be at most {most}"));
        }
    }
    Claim {
        cpu_cores: claim.cpu_cores,
        memory_bytes: bytes(violations, "spec.claim.memory_bytes", claim.memory_bytes),
        disk_bytes: bytes(violations, "spec.claim.disk_bytes", claim.disk_bytes),
        gpu_model: text(violations, "spec.claim.gpu_model", &claim.gpu_model, MODEL),
        gpu_count: claim.gpu_count,
    }
}

/// The state that a list is to show; unspecified means all.
pub(in super::super) fn state(field: &str, value: i32) -> Result<Option<State>> {
    use pb::machine_status::State as Wire;
    let wire = Wire::try_from(value).map_err(|_| Error::invalid(field, "is not a known state"))?;
    Ok(match wire {
        Wire::Unspecified => None,
        Wire::Enrolling => Some(State::Enrolling),
        Wire::Verifying => Some(State::Verifying),
        Wire::Available => Some(State::Available),
        Wire::Cordoned => Some(State::Cordoned),
        Wire::Reserved => Some(State::Reserved),
        Wire::Leased => Some(State::Leased),
        Wire::Wiping => Some(State::Wiping),
        Wire::Faulty => Some(State::Faulty),
        Wire::Retired => Some(State::Retired),
    })
}

impl From<State> for pb::machine_status::State {
    fn from(state: State) -> Self {
        match state {
            State::Enrolling => Self::Enrolling,
            State::Verifying => Self::Verifying,
            State::Available => Self::Available,
            State::Cordoned => Self::Cordoned,
            State::Reserved => Self::Reserved,
            State::Leased => Self::Leased,
            State::Wiping => Self::Wiping,
            State::Faulty => Self::Faulty,
            State::Retired => Self::Retired,
        }
    }
}

impl From<Machine> for pb::Machine {
    fn from(machine: Machine) -> Self {
        let reconciling = machine.is_worked_on() || machine.state == State::Reserved;
        Self {
            id: machine.id.to_string(),
            etag: wire::etag(machine.version),
            create_time: Some(wire::timestamp(machine.create_time)),
            name: machine.name.to_string(),
            spec: Some(pb::MachineSpec {
                supplier_id: machine.supplier_id.to_string(),
                address: machine.address.to_string(),
                user: machine.login.to_string(),
                host_key: machine.host_key.to_string(),
                claim: Some(pb::HardwareClaim {
                    cpu_cores: machine.claim.cpu_cores,
                    memory_bytes: machine.claim.memory_bytes.unsigned_abs(),
                    disk_bytes: machine.claim.disk_bytes.unsigned_abs(),
                    gpu_model: machine.claim.gpu_model,
                    gpu_count: machine.claim.gpu_count,
                }),
                region: machine.region,
            }),
            status: Some(pb::MachineStatus {
                state: pb::machine_status::State::from(machine.state).into(),
                status_reason: machine.status_reason,
                facts: machine.facts.map(Into::into),
                verify_time: machine.verify_time.map(wire::timestamp),
                lease_id: machine
                    .lease_id
                    .map(|id| id.to_string())
                    .unwrap_or_default(),
                cordoned: machine.cordoned,
            }),
            reconciling,
        }
    }
}
