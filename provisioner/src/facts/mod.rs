//! Hardware facts, measured over SSH and never believed.
//!
//! One command reads what the kernel knows, one tests the disk, a few compare
//! the clocks. What comes back is text of a stranger: short, bounded, parsed.

mod clock;
mod disk;
mod gpu;
mod parse;

pub(crate) use parse::facts as facts_of;

use crate::error::{Error, Result};
use crate::ssh::{Exec, Session, quote};
use std::time::Duration;

/// Most bytes of all facts together; eight GPUs are half a megabyte.
const MAX_FACTS: usize = 4 << 20;
/// What a line between two facts begins with.
const MARK: &str = "==berth ";
/// Where Docker keeps its data unless it says otherwise.
const DOCKER_ROOT: &str = "/var/lib/docker";

/// What a machine is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
    pub memory_bytes: u64,
    /// Disks; the first holds Docker's data.
    pub disks: Vec<Disk>,
    /// Network interfaces, without loopback and Docker's own.
    pub nics: Vec<Nic>,
    /// Kernel release.
    pub kernel: String,
    /// Operating system, as `PRETTY_NAME` in `/etc/os-release`.
    pub os: String,
    /// Docker engine's version; empty when absent.
    pub docker_version: String,
    /// GPUs.
    pub gpus: Vec<Gpu>,
    /// Machine's clock less ours, in milliseconds.
    pub clock_offset_ms: i64,
}

/// A disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Disk {
    /// Where it is mounted.
    pub mount: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Free space in bytes.
    pub free_bytes: u64,
    /// Random 4 KiB reads a second; 0 when not measured.
    pub read_iops: u32,
    /// Random 4 KiB writes a second, each flushed; 0 when not measured.
    pub write_iops: u32,
}

/// A network interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nic {
    /// Name such as `eth0`.
    pub name: String,
    /// Link speed in Mbit/s; 0 when unknown.
    pub speed_mbit: u32,
    /// Addresses with prefix length.
    pub addresses: Vec<String>,
}

/// A GPU, as `nvidia-smi` reports it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gpu {
    /// Model.
    pub model: String,
    /// Identifier that the driver gives.
    pub uuid: String,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Driver version.
    pub driver: String,
    /// Highest CUDA version that the driver supports.
    pub cuda: String,
}

impl Session {
    /// Measures the machine, in about four seconds. Docker need not be there.
    ///
    /// # Errors
    ///
    /// [`Error::Answer`] when the machine answers nonsense, and those of the
    /// session.
    pub async fn measure(&self) -> Result<Facts> {
        let (mut facts, folder) = self.read_hardware().await?;
        if let Some(disk) = facts.disks.first_mut() {
            (disk.read_iops, disk.write_iops) = self.disk_speed(&folder).await?;
        }
        facts.clock_offset_ms = self.clock_offset_ms().await?;
        Ok(facts)
    }

    /// Measures what costs a machine in use nothing: all but the speed of the
    /// disk and the clock.
    ///
    /// # Errors
    ///
    /// Those of [`Self::measure`].
    pub async fn hardware(&self) -> Result<Facts> {
        Ok(self.read_hardware().await?.0)
    }

    /// What the kernel knows, and the folder of Docker's data.
    async fn read_hardware(&self) -> Result<(Facts, String)> {
        let (docker_version, docker_root) = self.docker_facts().await?;
        let mut folder = docker_root;
        if docker_version.is_empty() {
            "/var/lib".clone_into(&mut folder);
        }
        let script = script(&folder);
        let printed = self
            .root(Exec {
                max_output: MAX_FACTS,
                timeout: Duration::from_secs(60),
                ..Exec::new("reading the hardware", &script)
            })
            .await?;
        let mut facts = parse::facts(&String::from_utf8_lossy(&printed))?;
        facts.docker_version = docker_version;
        Ok((facts, folder))
    }

    /// Docker's version and data folder; both of a machine without it are a guess.
    async fn docker_facts(&self) -> Result<(String, String)> {
        let engine = match self.engine().await {
            Ok(engine) => engine,
            Err(Error::Docker { .. }) => return Ok((String::new(), DOCKER_ROOT.to_owned())),
            Err(error) => return Err(error),
        };
        let info = self.info().await?;
        let root = info.docker_root_dir.filter(|dir| dir.starts_with('/'));
        let root = root.unwrap_or_else(|| DOCKER_ROOT.to_owned());
        Ok((engine.version.clone(), root))
    }
}

/// Prints each fact after a line with its name.
fn script(docker_root: &str) -> String {
    let folder = quote(docker_root);
    let facts = [
        ("processors", "grep -c ^processor /proc/cpuinfo"),
        ("cpu", "sed '/^$/q' /proc/cpuinfo | head -c 16384"),
        ("smt", "cat /sys/devices/system/cpu/smt/active"),
        ("memory", "head -n 3 /proc/meminfo"),
        ("kernel", "uname -r"),
        ("os", "head -c 8192 /etc/os-release"),
        ("disks", &format!("df -PB1 {folder} /")),
        ("addresses", "ip -j addr"),
        ("speeds", "cd /sys/class/net && grep -H . */speed"),
        ("gpus", "nvidia-smi -q -x"),
    ];
    let mut script = String::new();
    for (name, command) in facts {
        script += &format!("echo; echo '{MARK}{name}'; ({command}) 2>/dev/null\n");
    }
    script + "exit 0\n"
}
