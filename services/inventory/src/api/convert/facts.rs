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
        disks: facts
            .disks
            .iter()
            .take(MANY)
            .map(|d| disk(note, d))
            .collect(),
        nics: facts.nics.iter().take(MANY).map(|n| nic(note, n)).collect(),
        kernel: text(note, "facts.kernel", &facts.kernel, TEXT),
        os: text(note, "facts.os", &facts.os, TEXT),
        docker_version: text(note, "facts.docker_version", &facts.docker_version, TEXT),
        gpus: facts.gpus.iter().take(MANY).map(|g| gpu(note, g)).collect(),
        clock_offset_ms: facts.clock_offset_ms,
    }
}

fn limit(note: &mut Violations, field: &str, count: usize, max: usize) {
    if count > max {
        note.add(field, format!("holds more than {max}"));
    }
}

fn texts(note: &mut Violations, field: &str, values: &[String], max: usize) -> Vec<String> {
    let values = values.iter().take(max);
    values.map(|value| text(note, field, value, TEXT)).collect()
}

fn disk(note: &mut Violations, disk: &pb::Disk) -> Disk {
    Disk {
        mount: text(note, "facts.disks.mount", &disk.mount, TEXT),
        size_bytes: bytes(note, "facts.disks.size_bytes", disk.size_bytes),
        free_bytes: bytes(note, "facts.disks.free_bytes", disk.free_bytes),
        read_iops: disk.read_iops,
        write_iops: disk.write_iops,
    }
}

fn nic(note: &mut Violations, nic: &pb::Nic) -> Nic {
    limit(note, "facts.nics.addresses", nic.addresses.len(), MANY);
    Nic {
        name: text(note, "facts.nics.name", &nic.name, TEXT),
        speed_mbit: nic.speed_mbit,
        addresses: texts(note, "facts.nics.addresses", &nic.addresses, MANY),
    }
}

fn gpu(note: &mut Violations, gpu: &pb::Gpu) -> Gpu {
    Gpu {
        model: text(note, "facts.gpus.model", &gpu.model, TEXT),
        uuid: text(note, "facts.gpus.uuid", &gpu.uuid, TEXT),
        memory_bytes: bytes(note, "facts.gpus.memory_bytes", gpu.memory_bytes),
        driver: text(note, "facts.gpus.driver", &gpu.driver, TEXT),
        cuda: text(note, "facts.gpus.cuda", &gpu.cuda, TEXT),
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
