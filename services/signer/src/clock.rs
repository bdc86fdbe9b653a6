//! Whether the clocks of this process and of the database agree. Bounds of what
//! may be signed hang on them, and on nothing else here.

use crate::domain::Refusal;
use crate::domain::refusal::Reason;
use crate::store::checks;
use berth_core::{Result, report};
use berth_runtime::pg;
use sqlx::PgPool;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The most that the clocks may differ, in microseconds.
const TOLERANCE: i64 = 500_000;
/// Pause between two comparisons.
const EVERY: Duration = Duration::from_secs(1);
/// Age at which a comparison says nothing any more.
const STALE: Duration = Duration::from_secs(10);

/// What one comparison says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// They differ by no more than the tolerance.
    Agree,
    /// They differ by at least so many microseconds; positive where the
    /// database is ahead.
    Differ(i64),
    /// The answer took too long to say.
    Unclear,
}

/// Compares the time that the database said with those of this process before
/// and after it was asked. All in microseconds.
fn compare(before: i64, database: i64, after: i64) -> Verdict {
    // The difference lies between these two.
    let (least, most) = (
        database.saturating_sub(after),
        database.saturating_sub(before),
    );
    if least > TOLERANCE {
        Verdict::Differ(least)
    } else if most < -TOLERANCE {
        Verdict::Differ(most)
    } else if least >= -TOLERANCE && most <= TOLERANCE {
        Verdict::Agree
    } else {
        Verdict::Unclear
    }
}

/// The last time at which the clocks agreed.
#[derive(Debug, Clone, Copy)]
struct Agreed {
    /// By the clock, in microseconds since 1970.
    wall: i64,
    /// By the counter that nobody sets.
    instant: Instant,
}

/// What is known of the clocks.
#[derive(Debug)]
pub struct Clock(Mutex<Result<Agreed, String>>);

impl Default for Clock {
    fn default() -> Self {
        Self(Mutex::new(Err(
            "not compared with the database yet".to_owned()
        )))
    }
}

impl Clock {
    /// The present in Unix seconds.
    ///
    /// # Errors
    ///
    /// `CLOCK_SKEW` while the clocks differ, or it is not known whether.
    pub fn now(&self) -> Result<u64, Refusal> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let agreed = state.as_ref().map_err(|problem| skew(problem.clone()))?;
        present(
            agreed.wall,
            agreed.instant.elapsed(),
            berth_core::now().timestamp_micros(),
        )
        .map_err(skew)
    }

    /// Compares the clocks once.
    ///
    /// # Errors
    ///
    /// Those of the database; what was known before stays.
    pub async fn compare(&self, db: &PgPool) -> Result<()> {
        let mut conn = db.acquire().await.map_err(pg::error)?;
        let before = berth_core::now().timestamp_micros();
        let database = checks::clock(&mut conn).await?;
        let (wall, instant) = (berth_core::now().timestamp_micros(), Instant::now());
        let verdict = match compare(before, database, wall) {
            Verdict::Agree => Ok(Agreed { wall, instant }),
            Verdict::Differ(by) => Err(format!(
                "the clock of the database is {} ms {} that of the signer's machine: set both by NTP",
                by.abs() / 1000,
                if by > 0 { "ahead of" } else { "behind" }
            )),
            // It gets old, and then refuses.
            Verdict::Unclear => return Ok(()),
        };
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (&verdict, &*state) {
            (Err(problem), Ok(_)) => {
                tracing::error!(problem, "the clocks differ; nothing is signed")
            }
            (Ok(_), Err(_)) => tracing::info!("the clocks agree"),
            (Ok(_), Ok(_)) | (Err(_), Err(_)) => {}
        }
        *state = verdict;
        Ok(())
    }

    /// Goes on comparing.
    pub async fn watch(&self, db: &PgPool) {
        loop {
            if let Err(error) = self.compare(db).await {
                tracing::debug!(error = report(&error), "cannot compare the clocks");
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}

fn skew(detail: impl Into<String>) -> Refusal {
    Refusal::new(Reason::ClockSkew, detail)
}

/// The present in seconds, or why `wall` is not to be believed, so long after
/// the clocks agreed.
fn present(agreed: i64, elapsed: Duration, wall: i64) -> Result<u64, String> {
    if elapsed > STALE {
        return Err(format!(
            "the clocks were last compared {} s ago",
            elapsed.as_secs()
        ));
    }
    let elapsed = i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX);
    let jump = wall.saturating_sub(agreed.saturating_add(elapsed));
    if jump.abs() > TOLERANCE {
        return Err(format!("the clock just jumped by {} ms", jump / 1000));
    }
    u64::try_from(wall / 1_000_000).map_err(|_| "the clock stands before 1970".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;
    const HOUR: i64 = 3600 * SECOND;

    #[test]
    fn the_time_on_the_way_is_no_difference() {
        let now = 1_700_000_000 * SECOND;
        assert_eq!(compare(now, now + 100, now + 200), Verdict::Agree);
        assert_eq!(compare(now, now + TOLERANCE, now), Verdict::Agree);
        assert_eq!(
            compare(now, now + TOLERANCE + 1, now),
            Verdict::Differ(TOLERANCE + 1)
        );
        // It may have been asked early or late in these two seconds.
        assert_eq!(
            compare(now, now + SECOND, now + 2 * SECOND),
            Verdict::Unclear
        );
        // However long it took, it was not four hours.
        for (database, least) in [
            (now + 4 * HOUR, 4 * HOUR - 2 * SECOND),
            (now - 4 * HOUR, -4 * HOUR),
            (now + 24 * HOUR, 24 * HOUR - 2 * SECOND),
        ] {
            let verdict = compare(now, database, now + 2 * SECOND);
            assert_eq!(verdict, Verdict::Differ(least));
        }
    }

    #[test]
    fn a_clock_that_jumps_or_is_long_unchecked_is_not_believed() {
        let agreed = 1_700_000_000 * SECOND;
        let second = Duration::from_secs(1);
        assert_eq!(present(agreed, second, agreed + SECOND), Ok(1_700_000_001));
        for jump in [HOUR, -HOUR, TOLERANCE + 1, -TOLERANCE - 1] {
            let wall = agreed + SECOND + jump;
            assert!(
                present(agreed, second, wall)
                    .unwrap_err()
                    .contains("jumped")
            );
        }
        let later = STALE + second;
        let wall = agreed + 11 * SECOND;
        assert!(
            present(agreed, later, wall)
                .unwrap_err()
                .contains("11 s ago")
        );
        assert!(present(-2 * SECOND, second, -SECOND).is_err());
    }

    #[test]
    fn nothing_is_present_before_the_clocks_were_compared() {
        let refusal = Clock::default().now().unwrap_err();
        assert_eq!(refusal.reason, Reason::ClockSkew);
    }
}
