//! A rig: a private network with machines on it, and a directory with their disks.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use nix::sched::{CloneFlags, setns};
use sha2::{Digest, Sha256};

use crate::error::Context;
use crate::{Error, Machine, Result, boot, cgroup, shell, wire};

/// Numbered machines have the indices 1 to 99, named ones those above.
const NUMBERED: u8 = 99;
const LAST: u8 = 199;

/// Where a rig lives.
#[derive(Clone, Debug)]
pub struct RigConfig {
    /// The directory of the machines' disks. It must not be on a tmpfs, which dockerd cannot store images on.
    pub state_dir: PathBuf,
    /// The rig's name: 1 to 30 of a-z, 0-9 and '-'. The names of its namespaces start with it, so two rigs that
    /// run at once have two names.
    pub name: String,
}

/// Machines on a private network.
///
/// The machines run on when the process that made them ends; opening the same directory finds them again.
#[derive(Clone, Debug)]
pub struct Rig {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) name: String,
    pub(crate) state: PathBuf,
}

impl Inner {
    /// The third byte of the rig's addresses. Two rigs may have the same: their networks never meet.
    pub(crate) fn subnet(&self) -> u8 {
        Sha256::digest(&self.name)[0].clamp(1, 254)
    }

    /// The network namespace in which the bridge lives.
    pub(crate) fn fabric(&self) -> String {
        format!("{}-ctl", self.name)
    }

    /// The control group above those of all machines.
    pub(crate) fn cgroup(&self) -> String {
        format!("berth-rig-{}", self.name)
    }

    pub(crate) fn controller(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 231, self.subnet(), 1)
    }

    fn lock(&self) -> Result<File> {
        let path = self.state.join("lock");
        let file = File::create(&path).during(|| format!("create {}", path.display()))?;
        file.lock().during(|| format!("lock {}", path.display()))?;
        Ok(file)
    }
}

impl Rig {
    /// Opens a rig, or makes it. Machines that run are found again; those that are off stay off.
    pub fn open(config: RigConfig) -> Result<Self> {
        if !nix::unistd::Uid::effective().is_root() {
            return Err(Error::NotRoot);
        }
        shell::require_all()?;
        check_name(&config.name)?;
        let machines = config.state_dir.join("machines");
        fs::create_dir_all(&machines).during(|| format!("create {}", machines.display()))?;
        let state = config
            .state_dir
            .canonicalize()
            .during(|| format!("open {}", config.state_dir.display()))?;
        let inner = Inner {
            name: config.name,
            state,
        };
        let _lock = inner.lock()?;
        shell::write(&inner.state.join("init.sh"), include_str!("files/init.sh"))?;
        shell::write(
            &inner.state.join("delay.py"),
            include_str!("files/delay.py"),
        )?;
        wire::build_fabric(&inner)?;
        shell::write(&inner.state.join("name"), &inner.name)?;
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Opens the rig that was made in a directory, whatever its name is.
    pub fn find(state_dir: &Path) -> Result<Self> {
        let path = state_dir.join("name");
        let name = fs::read_to_string(&path).during(|| format!("read {}", path.display()))?;
        Self::open(RigConfig {
            state_dir: state_dir.into(),
            name,
        })
    }

    /// The rig's name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The directory of the machines' disks.
    pub fn state_dir(&self) -> &Path {
        &self.inner.state
    }

    /// The bridge's address: what machines dial to reach a listener that was opened inside the fabric.
    pub fn controller_address(&self) -> IpAddr {
        self.inner.controller().into()
    }

    /// Sees to it that the machines `m1` to `m<count>` exist and run, all at once.
    pub fn up(&self, count: u8) -> Result<Vec<Machine>> {
        let names = (1..=count).map(|index| format!("m{index}"));
        let machines = names
            .map(|name| self.prepare(&name))
            .collect::<Result<Vec<_>>>()?;
        each(&machines, boot::start)?;
        Ok(machines)
    }

    /// Sees to it that one machine exists and runs: `m3`, `3`, or a name of one's own.
    pub fn add(&self, name: &str) -> Result<Machine> {
        let machine = self.prepare(&canonical(name)?)?;
        boot::start(&machine)?;
        Ok(machine)
    }

    /// All machines, running or not, in the order of their addresses.
    pub fn machines(&self) -> Result<Vec<Machine>> {
        let dir = self.inner.state.join("machines");
        let mut machines = Vec::new();
        for entry in fs::read_dir(&dir).during(|| format!("list {}", dir.display()))? {
            let entry = entry.during(|| format!("list {}", dir.display()))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(machine) = Machine::find(&self.inner, &name)? {
                machines.push(machine);
            }
        }
        machines.sort_by_key(Machine::index);
        Ok(machines)
    }

    /// One machine by its name or number.
    pub fn machine(&self, name: &str) -> Result<Machine> {
        let name = canonical(name)?;
        match Machine::find(&self.inner, &name)? {
            Some(machine) => Ok(machine),
            None => Err(Error::Unknown {
                name,
                known: self.known()?,
            }),
        }
    }

    /// Turns all machines off and takes the network away; the disks stay for the next [`Rig::up`].
    pub fn stop(&self) -> Result<()> {
        let _lock = self.inner.lock()?;
        each(&self.machines()?, boot::power_off)?;
        wire::remove_fabric(&self.inner)?;
        cgroup::remove(&self.inner.cgroup())
    }

    /// Takes everything away: machines, network, control groups, disks. Nothing is left.
    pub fn down(self) -> Result<()> {
        self.stop()?;
        fs::remove_dir_all(&self.inner.state)
            .during(|| format!("remove {}", self.inner.state.display()))
    }

    /// Moves the current thread into the fabric's network namespace, where machines can be reached and listeners
    /// on [`Rig::controller_address`] can be opened. Threads started by this thread afterwards are there too;
    /// threads that already run are not, so a runtime with worker threads is built after the call. Unix sockets
    /// work across; there is no way back for the thread.
    pub fn enter_fabric(&self) -> Result<()> {
        let path = wire::namespace_path(&self.inner.fabric());
        let file = File::open(&path).during(|| format!("open {}", path.display()))?;
        setns(file, CloneFlags::CLONE_NEWNET)
            .map_err(Into::into)
            .during(|| format!("enter {}", path.display()))
    }

    /// Runs a closure on a thread inside the fabric's network namespace.
    pub fn in_fabric<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let done =
            thread::scope(|scope| scope.spawn(|| self.enter_fabric().map(|()| work())).join());
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Makes a machine's directory, address and host key.
    fn prepare(&self, name: &str) -> Result<Machine> {
        let _lock = self.inner.lock()?;
        match Machine::find(&self.inner, name)? {
            Some(machine) => Ok(machine),
            None => Machine::create(&self.inner, name, self.free_index(name)?),
        }
    }

    fn free_index(&self, name: &str) -> Result<u8> {
        if let Some(index) = number(name) {
            return Ok(index);
        }
        let used: Vec<u8> = self.machines()?.iter().map(Machine::index).collect();
        (NUMBERED + 1..=LAST)
            .find(|index| !used.contains(index))
            .ok_or(Error::Full)
    }

    fn known(&self) -> Result<String> {
        let names: Vec<String> = self
            .machines()?
            .iter()
            .map(|machine| machine.name().into())
            .collect();
        Ok(if names.is_empty() {
            "none".into()
        } else {
            names.join(", ")
        })
    }
}

/// Does the same to all machines at once; the first error is returned when all are done.
fn each(machines: &[Machine], act: impl Fn(&Machine) -> Result<()> + Sync) -> Result<()> {
    thread::scope(|scope| {
        let act = &act;
        let threads: Vec<_> = machines
            .iter()
            .map(|machine| scope.spawn(move || act(machine)))
            .collect();
        let results: Vec<Result<()>> = threads
            .into_iter()
            .map(|t| {
                t.join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect();
        results.into_iter().collect()
    })
}

/// `3` is `m3`.
fn canonical(name: &str) -> Result<String> {
    let name = match name.parse::<u8>() {
        Ok(number) => format!("m{number}"),
        Err(_) => name.to_owned(),
    };
    check_name(&name)?;
    Ok(name)
}

/// The number in `m3`.
fn number(name: &str) -> Option<u8> {
    let number = name.strip_prefix('m')?.parse().ok()?;
    (1..=NUMBERED).contains(&number).then_some(number)
}

fn check_name(name: &str) -> Result<()> {
    let fits = name.len() <= 30
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if fits {
        Ok(())
    } else {
        Err(Error::Name { name: name.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::{canonical, number};

    #[test]
    fn a_number_names_the_machine_with_that_index() {
        assert_eq!(canonical("3").unwrap(), "m3");
        assert_eq!(number("m3"), Some(3));
        assert_eq!(number("m100"), None);
        assert_eq!(number("network"), None);
    }

    #[test]
    fn a_name_that_could_leave_the_state_directory_is_refused() {
        for name in ["", "..", "a/b", "M1", "-a", &"a".repeat(31)] {
            assert!(canonical(name).is_err(), "{name}");
        }
    }
}
