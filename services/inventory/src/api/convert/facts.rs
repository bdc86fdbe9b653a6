//! Hardware facts. What a machine says of itself is hostile until it is
//! bounded here.

use super::super::pb;
use super::{bytes, text};
use crate::domain::{Disk, Facts, Gpu, Nic};
use berth_core::Violations;

/// Longest text of a fact.
const TEXT: usize = 256;
/// Most disks, interfaces, addresses of one, or GPUs.
const MANY: usize = 64;
/// Most CPU flags.
const FLAGS: usize = 1024;

/// Facts within bounds; what is outside is noted.
pub(super) fn facts(violations: &mut Violations, facts: pb::Facts) -> Facts {
    let note = violations;
    limit(note, "facts.cpu_flags", facts.cpu_flags.len(), FLAGS);
    limit(note, "facts.disks", facts.disks.len(), MANY);
    limit(note, "facts.nics", facts.nics.len(), MANY);
    limit(note, "facts.gpus", facts.gpus.len(), MANY);
    Facts {
        cpu_model: text(note, "facts.cpu_model", &facts.cpu_model, TEXT),
        cpu_cores: facts.cpu_cores,
        smt: facts.smt,
        cpu_flags: texts(note, "facts.cpu_flags", &facts.cpu_flags, FLAGS),
        memory_bytes: bytes(note, "facts.memory_bytes", facts.memory_bytes),
        disks: each(facts.disks, |at, one| disk(note, at, one)),
        nics: each(facts.nics, |at, one| nic(note, at, one)),
        kernel: text(note, "facts.kernel", &facts.kernel, TEXT),
        os: text(note, "facts.os", &facts.os, TEXT),
        docker_version: text(note, "facts.docker_version", &facts.docker_version, TEXT),
        gpus: each(facts.gpus, |at, one| gpu(note, at, one)),
        clock_offset_ms: facts.clock_offset_ms,
    }
}

/// As many as are taken, with their places.
fn each<T, U>(all: Vec<T>, mut one: impl FnMut(usize, &T) -> U) -> Vec<U> {
    let all = all.iter().take(MANY).enumerate();
    all.map(|(at, value)| one(at, value)).collect()
}

fn limit(note: &mut Violations, field: &str, count: usize, max: usize) {
    if count > max {
        note.add(field, format!("holds more than {max}"));
    }
}

fn texts(note: &mut Violations, field: &str, values: &[String], max: usize) -> Vec<String> {
    let values = values.iter().take(max).enumerate();
    values
        .map(|(at, value)| text(note, &format!("{field}[{at}]"), value, TEXT))
        .collect()
}

fn disk(note: &mut Violations, at: usize, disk: &pb::Disk) -> Disk {
    let field = |name: &str| format!("facts.disks[{at}].{name}");
    Disk {
        mount: text(note, &field("mount"), &disk.mount, TEXT),
        size_bytes: bytes(note, &field("size_bytes"), disk.size_bytes),
        free_bytes: bytes(note, &field("free_bytes"), disk.free_bytes),
        read_iops: disk.read_iops,
        write_iops: disk.write_iops,
    }
}

fn nic(note: &mut Violations, at: usize, nic: &pb::Nic) -> Nic {
    let field = |name: &str| format!("facts.nics[{at}].{name}");
    limit(note, &field("addresses"), nic.addresses.len(), MANY);
    Nic {
        name: text(note, &field("name"), &nic.name, TEXT),
        speed_mbit: nic.speed_mbit,
        addresses: texts(note, &field("addresses"), &nic.addresses, MANY),
    }
}

fn gpu(note: &mut Violations, at: usize, gpu: &pb::Gpu) -> Gpu {
    let field = |name: &str| format!("facts.gpus[{at}].{name}");
    Gpu {
        model: text(note, &field("model"), &gpu.model, TEXT),
        uuid: text(note, &field("uuid"), &gpu.uuid, TEXT),
        memory_bytes: bytes(note, &field("memory_bytes"), gpu.memory_bytes),
        driver: text(note, &field("driver"), &gpu.driver, TEXT),
        cuda: text(note, &field("cuda"), &gpu.cuda, TEXT),
    }
}

impl From<Facts> for pb::Facts {
    fn from(facts: Facts) -> Self {
        Self {
            cpu_model: facts.cpu_model,
            cpu_cores: facts.cpu_cores,
            smt: facts.smt,
            cpu_flags: facts.cpu_flags,
            memory_bytes: facts.memory_bytes.unsigned_abs(),
            disks: facts.disks.into_iter().map(Into::into).collect(),
            nics: facts.nics.into_iter().map(Into::into).collect(),
            kernel: facts.kernel,
            os: facts.os,
            docker_version: facts.docker_version,
            gpus: facts.gpus.into_iter().map(Into::into).collect(),
            clock_offset_ms: facts.clock_offset_ms,
        }
    }
}

impl From<Disk> for pb::Disk {
    fn from(disk: Disk) -> Self {
        Self {
            mount: disk.mount,
            size_bytes: disk.size_bytes.unsigned_abs(),
            free_bytes: disk.free_bytes.unsigned_abs(),
            read_iops: disk.read_iops,
            write_iops: disk.write_iops,
        }
    }
}

impl From<Nic> for pb::Nic {
    fn from(nic: Nic) -> Self {
        Self {
            name: nic.name,
            speed_mbit: nic.speed_mbit,
            addresses: nic.addresses,
        }
    }
}

impl From<Gpu> for pb::Gpu {
    fn from(gpu: Gpu) -> Self {
        Self {
            model: gpu.model,
            uuid: gpu.uuid,
            memory_bytes: gpu.memory_bytes.unsigned_abs(),
            driver: gpu.driver,
            cuda: gpu.cuda,
        }
    }
}
