//! A rig for one test, which goes when the test ends, however it ends.

use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::Context;
use crate::{Result, Rig, RigConfig};

/// Not `/tmp`, which may be a tmpfs, on which dockerd stores no images.
const ROOT: &str = "/var/tmp";
const PREFIX: &str = "berth-rig-t";

/// A rig with a name of its own that is taken down when the value is dropped. What a killed test left is taken
/// down by the next one.
#[derive(Debug)]
pub struct TemporaryRig(Rig);

impl TemporaryRig {
    /// Makes an empty rig.
    pub fn open() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        sweep()?;
        let name = format!(
            "t{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        Rig::open(RigConfig {
            state_dir: state_dir(&name),
            name,
        })
        .map(Self)
    }
}

impl Deref for TemporaryRig {
    type Target = Rig;

    fn deref(&self) -> &Rig {
        &self.0
    }
}

impl Drop for TemporaryRig {
    fn drop(&mut self) {
        if let Err(error) = self.0.clone().down() {
            eprintln!("the rig {} could not be taken down: {error}", self.0.name());
        }
    }
}

fn state_dir(name: &str) -> PathBuf {
    Path::new(ROOT).join(format!("berth-rig-{name}"))
}

/// Takes down the rigs of processes that are gone. One process sweeps at a time.
fn sweep() -> Result<()> {
    let root = fs::File::open(ROOT).during(|| format!("open {ROOT}"))?;
    root.lock().during(|| format!("lock {ROOT}"))?;
    for entry in fs::read_dir(ROOT)
        .during(|| format!("list {ROOT}"))?
        .filter_map(|entry| entry.ok())
    {
        let file = entry.file_name().to_string_lossy().into_owned();
        let Some((pid, count)) = file
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_once('-'))
        else {
            continue;
        };
        if !Path::new("/proc").join(pid).exists() {
            let rig = Rig::open(RigConfig {
                state_dir: entry.path(),
                name: format!("t{pid}-{count}"),
            })?;
            rig.down()?;
        }
    }
    Ok(())
}
