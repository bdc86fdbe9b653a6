//! Waiting: asking again until something is so, or failing with the last reason
//! why it was not.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// Time between two questions.
const PAUSE: Duration = Duration::from_millis(200);

/// Asks until the answer is good, and returns it.
///
/// # Panics
///
/// With the last answer, when none was good in time.
#[track_caller]
pub fn eventually<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let begun = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(why) if begun.elapsed() > limit => {
                panic!("{what}: not within {} s: {why}", limit.as_secs())
            }
            Err(_) => sleep(PAUSE),
        }
    }
}

/// Asks until there is an answer, or returns none.
pub(crate) fn within<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        let answer = ask();
        if answer.is_some() || begun.elapsed() > limit {
            return answer;
        }
        sleep(PAUSE);
    }
}
