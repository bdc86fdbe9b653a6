//! The time, at the precision the database keeps.

use chrono::{DateTime, SubsecRound as _, Utc};

/// The current time in whole microseconds.
///
/// `timestamptz` keeps no more, so a finer value would differ from the row
/// that is read back.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the clock"
)]
pub fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}
