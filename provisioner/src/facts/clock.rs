//! How far a machine's clock is from ours.

use crate::error::{Error, Result};
use crate::ssh::{Exec, Session};
use std::time::{SystemTime, UNIX_EPOCH};

const WHAT: &str = "reading the clock";
/// Readings; the quickest answer is the least wrong.
const READINGS: usize = 3;

impl Session {
    /// Machine's clock less ours, in milliseconds, to half a round trip.
    pub(crate) async fn clock_offset_ms(&self) -> Result<i64> {
        let mut best: Option<(i64, i64)> = None;
        for _ in 0..READINGS {
            let before = now_ms();
            let read = self.exec(Exec::new(WHAT, "date +%s%3N")).await?;
            let after = now_ms();
            let theirs = parse(&read.success(WHAT)?)?;
            let took = after.saturating_sub(before);
            let offset = theirs.saturating_sub(before.midpoint(after));
            if best.is_none_or(|(least, _)| took < least) {
                best = Some((took, offset));
            }
        }
        Ok(best.map_or(0, |(_, offset)| offset))
    }
}

fn parse(text: &[u8]) -> Result<i64> {
    let text = String::from_utf8_lossy(text);
    text.trim()
        .parse()
        .map_err(|_| Error::answer(WHAT, "not a number of milliseconds"))
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since
        .ok()
        .and_then(|since| i64::try_from(since.as_millis()).ok())
        .unwrap_or_default()
}
