//! The newest values of a node, by standard name.

use chrono::{DateTime, TimeDelta, Utc};

/// Most that a clock which is behind is made good for: samples that claim to be
/// older than this are given our time when they arrive.
const MOST_BEHIND_S: f64 = 1800.0;

/// What a healthy node of a chain looks like. A zero asks for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Expectation {
    /// Fewest peers.
    pub min_peers: i32,
    /// Most blocks behind the head.
    pub max_distance: i64,
    /// Longest time without a new block, in seconds.
    pub max_block_age_s: i64,
    /// Least free share of a disk, in percent.
    pub min_disk_free_percent: i32,
    /// Longest time without any signal, in seconds.
    pub silence_s: i64,
    /// GPUs that must answer.
    pub gpu_count: i32,
}

/// The newest sample of one series.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Reading {
    /// Name, such as `berth.node.height`.
    pub name: String,
    /// Labels, `key=value` in order.
    pub labels: String,
    /// When it was measured.
    pub last_time: DateTime<Utc>,
    /// The value; hostile, so it may be anything that a float can be.
    pub last_value: f64,
}

/// The newest samples of a node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Readings(pub Vec<Reading>);

impl Readings {
    /// When the newest of them was measured, by our clock: where the agent knows
    /// how far the machine's is behind, that is made good.
    #[must_use]
    pub fn newest(&self) -> Option<DateTime<Utc>> {
        let newest = self.0.iter().map(|reading| reading.last_time).max()?;
        let behind = self.value("berth.clock.offset").map_or(0.0, |off| -off);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a cast of a float saturates, and it is within limits"
        )]
        let behind = TimeDelta::seconds(behind.clamp(0.0, MOST_BEHIND_S) as i64);
        Some(newest + behind)
    }

    /// The value of a series without labels, when it is a finite number.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<f64> {
        self.all(name).next().map(|reading| reading.last_value)
    }

    /// A count: never negative, cut to what a 64-bit number holds.
    #[must_use]
    pub fn count(&self, name: &str) -> Option<u64> {
        let value = self.value(name).filter(|value| *value >= 0.0)?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a cast of a float saturates, and negative values are gone"
        )]
        let count = value as u64;
        Some(count)
    }

    /// Whether a flag is set.
    #[must_use]
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.value(name).map(|value| value >= 0.5)
    }

    /// All series of a name with finite values.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &Reading> {
        self.0
            .iter()
            .filter(move |reading| reading.name == name && reading.last_value.is_finite())
    }
}
