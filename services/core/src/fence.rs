//! Fences: the numbers that make a stale holder harmless.

use std::fmt;

/// Orders the placements of a node. It only grows; whoever acts for a lower
/// one than the current is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "sqlx", derive(sqlx::Type), sqlx(transparent))]
pub struct Fence(i64);

impl Fence {
    /// Before any placement.
    pub const NONE: Self = Self(0);
    /// The fence of the first placement.
    pub const FIRST: Self = Self(1);

    /// The fence after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The number, for the wire.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0.unsigned_abs()
    }
}

impl From<u64> for Fence {
    /// A fence as it came over the wire; absurd values saturate and match nothing.
    fn from(number: u64) -> Self {
        Self(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
