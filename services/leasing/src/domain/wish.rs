//! What an account asks for.

use berth_core::{AccountId, Money, OfferId};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

/// Least hardware that the machine must have. A zero asks for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirements {
    /// Logical processors.
    pub cpu_cores: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Free space on the data disk, in bytes.
    pub disk_bytes: u64,
    /// Random reads a second of the data disk.
    pub disk_read_iops: u32,
    /// Random writes a second of the data disk.
    pub disk_write_iops: u32,
    /// CPU flags.
    pub cpu_flags: Vec<String>,
    /// GPUs.
    pub gpu_count: u32,
    /// Memory of each GPU, in bytes.
    pub gpu_memory_bytes: u64,
    /// Least driver version.
    pub gpu_driver: String,
    /// Whether simultaneous multithreading must be off.
    pub smt_off: bool,
}

/// Which machine a lease wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// The one of this offer.
    Offer(OfferId),
    /// The cheapest that fits.
    Cheapest {
        /// What it must have.
        requirements: Requirements,
        /// Most that an hour may cost.
        max_price: Money,
    },
}

/// A lease about to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLease {
    /// Who pays.
    pub account_id: AccountId,
    /// Which machine.
    pub wish: Wish,
    /// How long from when it becomes active.
    pub term: TimeDelta,
    /// Free text for people.
    pub display_name: String,
}

/// Whether the text is a version such as `555` or `555.42.06`.
#[must_use]
pub fn is_driver_version(text: &str) -> bool {
    let part =
        |part: &str| (1..=9).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    text.split('.').count() <= 4 && text.split('.').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn driver_versions_are_numbers_and_dots() {
        for good in ["555", "555.42.06"] {
            assert!(is_driver_version(good), "{good}");
        }
        for bad in ["", "latest", "555.", "1.2.3.4.5", "-1"] {
            assert!(!is_driver_version(bad), "{bad}");
        }
    }
}
