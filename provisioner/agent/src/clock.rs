//! How far the machine's clock is off, from the `Date` header of the control
//! plane's answers.
//!
//! A header has whole seconds, so an answer proves an interval. The offset told is
//! the smallest that the answer allows: 0 for a clock that may be right.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use chrono::DateTime;

/// The last offset seen.
#[derive(Debug, Default)]
pub struct Clock(Mutex<Option<f64>>);

impl Clock {
    /// Learns from an answer: the machine's clock before and after, and the header.
    /// A header that is no date teaches nothing.
    pub fn observe(&self, asked: SystemTime, answered: SystemTime, date: &str) {
        let (Some(asked), Some(answered)) = (seconds(asked), seconds(answered)) else {
            return;
        };
        let Ok(date) = DateTime::parse_from_rfc2822(date) else {
            return;
        };
        // Whole seconds of this age are exact in a float.
        let date = date.timestamp() as f64;
        let offset = smallest(asked - date - 1.0, answered - date);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(offset);
    }

    /// Machine's clock less the control plane's, in seconds; none before an answer.
    #[must_use]
    pub fn offset(&self) -> Option<f64> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time by the control plane's clock, as well as it is known.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        let now = SystemTime::now();
        let offset = self.offset().unwrap_or_default();
        let apart = Duration::try_from_secs_f64(offset.abs()).unwrap_or_default();
        let right = if offset > 0.0 {
            now.checked_sub(apart)
        } else {
            now.checked_add(apart)
        };
        right.unwrap_or(now)
    }
}

/// The value of `low..=high` that is nearest to 0.
fn smallest(low: f64, high: f64) -> f64 {
    0_f64.max(low).min(high)
}

fn seconds(time: SystemTime) -> Option<f64> {
    Some(
        time.duration_since(SystemTime::UNIX_EPOCH)
            .ok()?
            .as_secs_f64(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const DATE_SECONDS: f64 = 784_111_777.0;

    fn offset(asked: f64, answered: f64) -> Option<f64> {
        let at =
            |since: f64| SystemTime::UNIX_EPOCH + Duration::from_secs_f64(DATE_SECONDS + since);
        let clock = Clock::default();
        clock.observe(at(asked), at(answered), DATE);
        clock.offset()
    }

    #[test]
    fn a_clock_that_may_be_right_is_not_blamed() {
        assert_eq!(offset(0.2, 0.3), Some(0.0));
        assert_eq!(offset(0.9, 1.4), Some(0.0));
    }

    #[test]
    fn a_clock_that_is_ahead_or_behind_is_told_with_its_sign() {
        assert_eq!(offset(11.0, 11.5), Some(10.0));
        assert_eq!(offset(-60.5, -60.0), Some(-60.0));
    }

    #[test]
    fn the_time_is_the_control_planes_however_far_the_machine_is_off() {
        let clock = Clock::default();
        let fast = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777 + 7200);
        clock.observe(fast, fast, DATE);
        assert_eq!(clock.offset(), Some(7199.0));
        let behind = SystemTime::now().duration_since(clock.now()).unwrap();
        assert!(behind.as_secs().abs_diff(7199) <= 60, "{behind:?}");
    }

    #[test]
    fn a_header_that_is_no_date_teaches_nothing() {
        let clock = Clock::default();
        clock.observe(SystemTime::now(), SystemTime::now(), "tomorrow");
        assert_eq!(clock.offset(), None);
    }
}
