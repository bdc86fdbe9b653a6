//! Hardware gates: what a chain asks for against what was measured.

use berth_proto::api::v1::Requirements;
use berth_proto::inventory::v1::{Facts, Gpu};
use berth_provisioner::chain;

/// A role's requirements as inventory and leasing understand them.
pub(super) fn requirements(wanted: &chain::Requirements) -> Requirements {
    Requirements {
        cpu_cores: wanted.cpu_cores,
        memory_bytes: wanted.memory.0,
        disk_bytes: wanted.disk.0,
        disk_read_iops: wanted.disk_read_iops,
        disk_write_iops: wanted.disk_write_iops,
        cpu_flags: wanted.cpu_flags.clone(),
        gpu_count: wanted.gpu_count,
        gpu_memory_bytes: wanted.gpu_memory.0,
        gpu_driver: wanted.gpu_driver.clone(),
        smt_off: wanted.smt_off,
    }
}

/// What the machine lacks, each for people; nothing when it passes.
pub(super) fn missing(wanted: &Requirements, facts: &Facts) -> Vec<String> {
    let disk = facts.disks.first().cloned().unwrap_or_default();
    let least = [
        (
            "processors",
            facts.cpu_cores.into(),
            wanted.cpu_cores.into(),
        ),
        ("bytes of memory", facts.memory_bytes, wanted.memory_bytes),
        ("free bytes of disk", disk.free_bytes, wanted.disk_bytes),
        (
            "disk reads a second",
            disk.read_iops.into(),
            wanted.disk_read_iops.into(),
        ),
        (
            "disk writes a second",
            disk.write_iops.into(),
            wanted.disk_write_iops.into(),
        ),
    ];
    let mut missing: Vec<String> = least
        .into_iter()
        .filter(|(_, has, wanted): &(_, u64, u64)| has < wanted)
        .map(|(what, has, wanted)| format!("{wanted} {what} wanted, {has} there"))
        .collect();
    let flags = wanted
        .cpu_flags
        .iter()
        .filter(|flag| !facts.cpu_flags.contains(flag));
    missing.extend(flags.map(|flag| format!("processor flag {flag} wanted")));
    if wanted.smt_off && facts.smt {
        missing.push("simultaneous multithreading must be off".to_owned());
    }
    let fit = |gpu: &&Gpu| {
        gpu.memory_bytes >= wanted.gpu_memory_bytes
            && version(&gpu.driver) >= version(&wanted.gpu_driver)
    };
    let gpus = facts.gpus.iter().filter(fit).count();
    if gpus < wanted.gpu_count as usize {
        missing.push(format!(
            "{} GPUs of {} bytes with driver {} wanted, {gpus} there",
            wanted.gpu_count, wanted.gpu_memory_bytes, wanted.gpu_driver
        ));
    }
    missing
}

fn version(text: &str) -> Vec<u64> {
    text.split('.')
        .map_while(|part| part.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_proto::inventory::v1::Disk;

    fn facts() -> Facts {
        Facts {
            cpu_cores: 8,
            memory_bytes: 64,
            cpu_flags: vec!["avx2".to_owned()],
            smt: true,
            disks: vec![Disk {
                free_bytes: 100,
                read_iops: 10,
                write_iops: 5,
                ..Disk::default()
            }],
            gpus: vec![Gpu {
                memory_bytes: 24,
                driver: "555.42.06".to_owned(),
                ..Gpu::default()
            }],
            ..Facts::default()
        }
    }

    #[test]
    fn a_machine_passes_only_with_all_that_is_asked_for() {
        type Ask = fn(&mut Requirements);
        let pass: [Ask; 6] = [
            |_| {},
            |r| r.cpu_cores = 8,
            |r| r.disk_write_iops = 5,
            |r| r.cpu_flags = vec!["avx2".to_owned()],
            |r| (r.gpu_count, r.gpu_memory_bytes) = (1, 24),
            |r| (r.gpu_count, r.gpu_driver) = (1, "555.9".to_owned()),
        ];
        let fail: [(Ask, &str); 9] = [
            (|r| r.cpu_cores = 9, "processors"),
            (|r| r.memory_bytes = 65, "memory"),
            (|r| r.disk_bytes = 101, "disk"),
            (|r| r.disk_read_iops = 11, "reads"),
            (|r| r.cpu_flags = vec!["sha_ni".to_owned()], "sha_ni"),
            (|r| r.smt_off = true, "multithreading"),
            (|r| r.gpu_count = 2, "2 GPUs"),
            (|r| (r.gpu_count, r.gpu_memory_bytes) = (1, 25), "GPUs"),
            (
                |r| (r.gpu_count, r.gpu_driver) = (1, "560".to_owned()),
                "560",
            ),
        ];
        for (at, ask) in pass.into_iter().enumerate() {
            let mut wanted = Requirements::default();
            ask(&mut wanted);
            assert_eq!(missing(&wanted, &facts()), Vec::<String>::new(), "{at}");
        }
        for (ask, of) in fail {
            let mut wanted = Requirements::default();
            ask(&mut wanted);
            let missing = missing(&wanted, &facts());
            assert!(missing.len() == 1 && missing[0].contains(of), "{missing:?}");
        }
    }
}
