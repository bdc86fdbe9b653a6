//! How often something may happen for a key, such as a request for a validator.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Keys that are remembered before those at rest are first forgotten.
const FIRST_SWEEP: usize = 1024;

/// So many at once, and then one each so often, for each key on its own.
#[derive(Debug)]
pub(super) struct Rate<K> {
    at_once: u32,
    each: Duration,
    begun: Instant,
    keys: Mutex<Keys<K>>,
}

/// When each key has all its room again, as time since `begun`. One that has it
/// is as good as forgotten.
#[derive(Debug)]
struct Keys<K> {
    rested: HashMap<K, Duration>,
    sweep_at: usize,
}

impl<K: Eq + Hash> Rate<K> {
    pub(super) fn new(at_once: u32, each: Duration) -> Self {
        Self {
            at_once,
            each,
            begun: Instant::now(),
            keys: Mutex::new(Keys {
                rested: HashMap::new(),
                sweep_at: FIRST_SWEEP,
            }),
        }
    }

    /// Whether it may happen now; then it counts.
    pub(super) fn take(&self, key: K) -> bool {
        self.take_at(key, self.begun.elapsed())
    }

    fn take_at(&self, key: K, now: Duration) -> bool {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.rested.len() >= keys.sweep_at {
            keys.rested.retain(|_, rested| *rested > now);
            keys.sweep_at = FIRST_SWEEP.max(keys.rested.len() * 2);
        }
        let rested = keys.rested.entry(key).or_insert(now);
        let after = (*rested).max(now) + self.each;
        let permitted = after <= now + self.each * self.at_once;
        if permitted {
            *rested = after;
        }
        permitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn so_many_at_once_and_then_one_each_so_often() {
        let rate = Rate::new(3, SECOND);
        let taken = |at: f32| rate.take_at("a", Duration::from_secs_f32(at));
        assert_eq!([0.0, 0.0, 0.0, 0.0].map(taken), [true, true, true, false]);
        assert_eq!([0.9, 1.0, 1.0, 2.0].map(taken), [false, true, false, true]);
        // Rested again.
        assert_eq!([9.0, 9.0, 9.0, 9.0].map(taken), [true, true, true, false]);
    }

    #[test]
    fn one_key_takes_no_room_of_another() {
        let rate = Rate::new(1, SECOND);
        assert!(rate.take_at("a", SECOND));
        assert!(!rate.take_at("a", SECOND));
        assert!(rate.take_at("b", SECOND));
    }

    #[test]
    fn keys_at_rest_are_forgotten() {
        let rate = Rate::new(1, SECOND);
        for number in 0..100_000_u32 {
            assert!(rate.take_at(number, SECOND * number));
        }
        let keys = rate.keys.lock().unwrap();
        assert!(keys.rested.len() <= FIRST_SWEEP, "{}", keys.rested.len());
    }
}
