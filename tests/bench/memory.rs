//! How much memory a process has. Shared by the benchmarks of several crates.

use std::fs;

/// Megabytes of a process.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    /// With its share of what several processes have in common.
    pub(crate) proportional: f64,
    /// With all of that.
    pub(crate) resident: f64,
}

impl Memory {
    /// Of a process that runs; nothing when it has just ended.
    pub(crate) fn of(process: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
        let megabytes = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            let kibibytes: f64 = line.split_whitespace().next()?.parse().ok()?;
            Some(kibibytes * 1024.0 / 1e6)
        };
        Some(Self {
            proportional: megabytes("Pss:")?,
            resident: megabytes("Rss:")?,
        })
    }
}
