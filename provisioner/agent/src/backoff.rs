//! How long to wait before the next try.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// Bounds of the waits between tries; each wait is doubled and has jitter.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    /// The first wait.
    pub first: Duration,
    /// No wait grows past this, jitter aside.
    pub longest: Duration,
}

impl Backoff {
    /// Waits of a run of failures, without end.
    #[must_use]
    pub fn waits(self) -> Waits {
        let waits = ExponentialBuilder::new()
            .with_min_delay(self.first)
            .with_max_delay(self.longest)
            .without_max_times()
            .with_jitter()
            .build();
        Waits {
            bounds: self,
            waits,
        }
    }
}

/// Waits of one run of failures.
#[derive(Debug)]
pub struct Waits {
    bounds: Backoff,
    waits: ExponentialBackoff,
}

impl Waits {
    /// The next wait, longer than the last.
    pub fn longer(&mut self) -> Duration {
        self.waits.next().unwrap_or(self.bounds.longest)
    }

    /// Begins again, after a success.
    pub fn reset(&mut self) {
        *self = self.bounds.waits();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_begin_again_after_a_success() {
        let bounds = Backoff {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(60),
        };
        let mut waits = bounds.waits();
        let late = (0..200).map(|_| waits.longer()).last().unwrap();
        assert!(
            late >= bounds.longest && late <= bounds.longest * 2,
            "{late:?}"
        );
        waits.reset();
        assert!(waits.longer() <= bounds.first * 2);
    }
}
