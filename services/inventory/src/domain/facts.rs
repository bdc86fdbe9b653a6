//! Hardware: what a supplier claims, what was measured, and where they differ.

use serde::{Deserialize, Serialize};

/// How much less memory or disk than claimed is not worth a word: firmware and
/// file systems keep some for themselves.
const TOLERANCE_PERCENT: i64 = 5;

/// What a supplier says the machine has. A zero claims nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Logical processors.
    pub cpu_cores: u32,
    /// Memory in bytes.
    pub memory_bytes: i64,
    /// Size of the data disk in bytes.
    pub disk_bytes: i64,
    /// Model of the GPUs as `nvidia-smi` prints it; empty claims nothing.
    pub gpu_model: String,
    /// GPUs.
    pub gpu_count: u32,
}

/// What was measured over SSH.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// CPU model as `/proc/cpuinfo` prints it.
    pub cpu_model: String,
    /// Logical processors.
    pub cpu_cores: u32,
    /// Whether simultaneous multithreading is on.
    pub smt: bool,
    /// CPU flags.
    pub cpu_flags: Vec<String>,
    /// Memory in bytes.
    pub memory_bytes: i64,
    /// Disks; the first holds Docker's data.
    pub disks: Vec<Disk>,
    /// Network interfaces.
    pub nics: Vec<Nic>,
    /// Kernel release.
    pub kernel: String,
    /// `PRETTY_NAME` of `/etc/os-release`.
    pub os: String,
    /// Version of the Docker engine; empty when absent.
    pub docker_version: String,
    /// GPUs.
    pub gpus: Vec<Gpu>,
    /// How far the machine's clock is from ours.
    pub clock_offset_ms: i64,
}

/// A disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Where it is mounted.
    pub mount: String,
    /// Size in bytes.
    pub size_bytes: i64,
    /// Free space in bytes.
    pub free_bytes: i64,
    /// Random 4 KiB reads a second; 0 when not measured.
    pub read_iops: u32,
    /// Random 4 KiB flushed writes a second; 0 when not measured.
    pub write_iops: u32,
}

/// A network interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nic {
    /// Name such as `eth0`.
    pub name: String,
    /// Mbit/s; 0 when unknown.
    pub speed_mbit: u32,
    /// Addresses with prefix length.
    pub addresses: Vec<String>,
}

/// A GPU.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    /// Model.
    pub model: String,
    /// UUID that the driver gives.
    pub uuid: String,
    /// Memory in bytes.
    pub memory_bytes: i64,
    /// Driver version.
    pub driver: String,
    /// Highest CUDA version the driver supports.
    pub cuda: String,
}

/// What facts offer to work, as numbers that a query can compare.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Free space of the data disk, in bytes.
    pub disk_bytes: i64,
    /// Random reads a second of the data disk.
    pub read_iops: i64,
    /// Random writes a second of the data disk.
    pub write_iops: i64,
    /// GPUs.
    pub gpu_count: i64,
    /// Memory of the smallest GPU, in bytes.
    pub gpu_memory: i64,
    /// The oldest driver of a GPU, as numbers.
    pub gpu_driver: Vec<i64>,
}

impl Facts {
    /// What a query compares; the rest is compared as it is.
    #[must_use]
    pub fn capacity(&self) -> Capacity {
        let data = self.disks.first().cloned().unwrap_or_default();
        let drivers = self
            .gpus
            .iter()
            .filter_map(|gpu| driver_version(&gpu.driver));
        Capacity {
            disk_bytes: data.free_bytes,
            read_iops: data.read_iops.into(),
            write_iops: data.write_iops.into(),
            gpu_count: i64::try_from(self.gpus.len()).unwrap_or(i64::MAX),
            gpu_memory: self
                .gpus
                .iter()
                .map(|gpu| gpu.memory_bytes)
                .min()
                .unwrap_or(0),
            gpu_driver: drivers.min().unwrap_or_default(),
        }
    }

    /// Where the machine is less than its supplier says, for people; empty
    /// when it is not.
    #[must_use]
    pub fn differences(&self, claim: &Claim) -> Vec<String> {
        let mut found = Vec::new();
        if self.cpu_cores < claim.cpu_cores {
            found.push(format!(
                "{} processors measured, {} claimed",
                self.cpu_cores, claim.cpu_cores
            ));
        }
        if is_short(self.memory_bytes, claim.memory_bytes) {
            found.push(format!(
                "{} of memory measured, {} claimed",
                size(self.memory_bytes),
                size(claim.memory_bytes)
            ));
        }
        let disk = self.disks.first().map_or(0, |disk| disk.size_bytes);
        if is_short(disk, claim.disk_bytes) {
            found.push(format!(
                "a data disk of {} measured, {} claimed",
                size(disk),
                size(claim.disk_bytes)
            ));
        }
        if self.gpus.len() < usize::try_from(claim.gpu_count).unwrap_or(usize::MAX) {
            found.push(format!(
                "{} GPUs measured, {} claimed",
                self.gpus.len(),
                claim.gpu_count
            ));
        }
        let other = |gpu: &&Gpu| !gpu.model.eq_ignore_ascii_case(&claim.gpu_model);
        if let Some(gpu) = self.gpus.iter().find(other)
            && !claim.gpu_model.is_empty()
        {
            found.push(format!(
                "GPU `{}` measured, `{}` claimed",
                gpu.model, claim.gpu_model
            ));
        }
        found
    }
}

fn is_short(measured: i64, claimed: i64) -> bool {
    i128::from(measured) * 100 < i128::from(claimed) * i128::from(100 - TOLERANCE_PERCENT)
}

fn size(bytes: i64) -> String {
    const GIB: i64 = 1 << 30;
    // In tenths, rounded down: what is short must not look equal.
    let tenths = i128::from(bytes) * 10 / i128::from(GIB);
    format!("{}.{} GiB ({bytes} bytes)", tenths / 10, tenths % 10)
}

/// A driver version such as `555.42.06` as numbers that compare in order.
#[must_use]
pub fn driver_version(text: &str) -> Option<Vec<i64>> {
    let part = |part: &str| -> Option<i64> {
        let digits = (1..=9).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        part.parse().ok().filter(|_| digits)
    };
    let parts: Option<Vec<i64>> = text.split('.').map(part).collect();
    parts.filter(|parts| parts.len() <= 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: i64 = 1 << 30;

    fn machine() -> Facts {
        let gpu = |driver: &str, memory: i64| Gpu {
            model: "NVIDIA H200".to_owned(),
            driver: driver.to_owned(),
            memory_bytes: memory * GIB,
            ..Gpu::default()
        };
        Facts {
            cpu_cores: 16,
            memory_bytes: 62 * GIB,
            disks: vec![Disk {
                size_bytes: 1000 * GIB,
                free_bytes: 900 * GIB,
                read_iops: 90_000,
                ..Disk::default()
            }],
            gpus: vec![gpu("555.42.06", 141), gpu("550.9", 140)],
            ..Facts::default()
        }
    }

    #[test]
    fn an_honest_claim_has_no_differences() {
        let claim = Claim {
            cpu_cores: 16,
            memory_bytes: 64 * GIB,
            disk_bytes: 1024 * GIB,
            gpu_model: "nvidia h200".to_owned(),
            gpu_count: 2,
        };
        assert_eq!(machine().differences(&claim), Vec::<String>::new());
        assert_eq!(
            Facts::default().differences(&Claim::default()),
            Vec::<String>::new()
        );
    }

    #[test]
    fn every_lie_is_named_with_both_numbers() {
        let claim = Claim {
            cpu_cores: 32,
            memory_bytes: 128 * GIB,
            disk_bytes: 2000 * GIB,
            gpu_model: "NVIDIA B200".to_owned(),
            gpu_count: 8,
        };
        assert_eq!(
            machine().differences(&claim),
            [
                "16 processors measured, 32 claimed",
                "62.0 GiB (66571993088 bytes) of memory measured, 128.0 GiB (137438953472 bytes) claimed",
                "a data disk of 1000.0 GiB (1073741824000 bytes) measured, 2000.0 GiB (2147483648000 bytes) claimed",
                "2 GPUs measured, 8 claimed",
                "GPU `NVIDIA H200` measured, `NVIDIA B200` claimed",
            ]
        );
    }

    #[test]
    fn capacity_is_that_of_the_data_disk_and_the_weakest_gpu() {
        let capacity = machine().capacity();
        assert_eq!(capacity.disk_bytes, 900 * GIB);
        assert_eq!((capacity.gpu_count, capacity.gpu_memory), (2, 140 * GIB));
        assert_eq!(capacity.gpu_driver, [550, 9]);
        assert_eq!(Facts::default().capacity(), Capacity::default());
    }

    #[test]
    fn driver_versions_compare_as_numbers() {
        assert!(driver_version("555.42.06") > driver_version("555.9"));
        assert!(driver_version("555.42") >= driver_version("555"));
        for text in ["", "abc", "555.", "1.2.3.4.5", "-1", "9999999999"] {
            assert_eq!(driver_version(text), None, "{text}");
        }
    }
}
