//! A file that every round of probes touches, for `berth-agent healthcheck`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file of one agent.
#[derive(Debug, Clone)]
pub struct Heartbeat(PathBuf);

impl Heartbeat {
    /// The file in the agent's own folder.
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        Self(state_dir.join("alive"))
    }

    /// Says that a round of probes ended.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn beat(&self) -> io::Result<()> {
        fs::write(&self.0, b"")
    }

    /// Time since the last round.
    ///
    /// # Errors
    /// When there was none.
    pub fn age(&self) -> io::Result<Duration> {
        let modified = fs::metadata(&self.0)?.modified()?;
        Ok(modified.elapsed().unwrap_or_default())
    }

    /// The longest age of an agent that works: rounds may take as long as their
    /// slowest probe.
    #[must_use]
    pub fn patience(interval: Duration) -> Duration {
        interval * 3 + Duration::from_secs(60)
    }
}
