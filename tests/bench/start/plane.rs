//! The memory of a control plane, process by process.

use crate::memory::Memory;
use berth_tests::eventually;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Readings in a row that differ little from the first of them.
const READINGS: usize = 10;
/// By how much they may differ.
const LITTLE: f64 = 0.01;

/// Memory by name of the process; Postgres is all of its processes.
pub(crate) struct Plane(pub(crate) BTreeMap<String, Memory>);

impl Plane {
    /// Waits until the memory of the control plane in this folder grows no more.
    pub(crate) fn settled(dir: &Path) -> Self {
        let mut readings: Vec<f64> = Vec::new();
        eventually("its memory stays", Duration::from_mins(1), || {
            let total = Self::read(dir).total();
            let first = readings.first().copied().unwrap_or(total);
            if (total - first).abs() > LITTLE * first {
                readings.clear();
            }
            readings.push(total);
            if readings.len() >= READINGS {
                Ok(())
            } else {
                Err(format!("{total:.1} MB"))
            }
        });
        Self::read(dir)
    }

    fn read(dir: &Path) -> Self {
        let mut all: BTreeMap<String, Memory> = BTreeMap::new();
        let mut add = |name: &str, process: u32| {
            if let Some(memory) = Memory::of(process) {
                let sum = all.entry(name.to_owned()).or_default();
                sum.proportional += memory.proportional;
                sum.resident += memory.resident;
            }
        };
        for entry in fs::read_dir(dir.join("logs")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "pid") {
                let name = path.file_stem().unwrap_or_default().to_string_lossy();
                add(&name, first_number(&path));
            }
        }
        let postmaster = first_number(&dir.join("postgres/data/postmaster.pid"));
        let own = std::process::id();
        for (process, parent, program) in processes() {
            if process == postmaster || parent == postmaster {
                add("Postgres", process);
            } else if parent == own && program == "berth" {
                add("berth dev", process);
                for (child, parent, program) in processes() {
                    if parent == process && program == "bao" {
                        add("OpenBao", child);
                    }
                }
            }
        }
        Self(all)
    }

    /// Of all, each with its share of what they have in common.
    pub(crate) fn total(&self) -> f64 {
        self.0.values().map(|memory| memory.proportional).sum()
    }

    /// The same of some.
    pub(crate) fn of(&self, names: &[&str]) -> f64 {
        let all = names.iter().map(|name| {
            let memory = self.0.get(*name);
            memory.unwrap_or_else(|| panic!("{name} runs")).proportional
        });
        all.sum()
    }
}

fn first_number(path: &Path) -> u32 {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .next()
        .and_then(|line| line.trim().parse().ok())
        .unwrap_or_default()
}

/// Every process: its id, its parent's, and its program's name.
fn processes() -> Vec<(u32, u32, String)> {
    let all = fs::read_dir("/proc").unwrap();
    let all = all.filter_map(|entry| {
        let process = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        let (name, rest) = text.split_once('(')?.1.rsplit_once(')')?;
        let parent = rest.split_whitespace().nth(1)?.parse().ok()?;
        Some((process, parent, name.to_owned()))
    });
    all.collect()
}
