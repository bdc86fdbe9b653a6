//! Provisioning's work on a machine, and its results.

use super::{Event, Facts, HostKey, Machine, State};
use berth_core::{Error, Result};
use chrono::{DateTime, Utc};

/// What provisioning does with a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Removes all that Berth and its users left on it.
    Wipe,
    /// Measures it.
    Measure,
}

/// How a verification ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verification {
    /// It was measured.
    Measured {
        /// What it has.
        facts: Box<Facts>,
        /// The host key that was seen.
        host_key: Option<HostKey>,
    },
    /// It could not be measured.
    Failed(String),
    /// It could not be measured now; it is tried again.
    Delayed(String),
}

/// How a wipe ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wipe {
    /// Nothing is left.
    Done {
        /// What was removed, for people.
        report: String,
    },
    /// Something is left.
    Failed(String),
    /// It could not be wiped now; it is tried again.
    Delayed(String),
}

impl Machine {
    /// What is to be done with it. A verification begins with a wipe: what
    /// somebody left would be measured too, and nobody knows what it is.
    #[must_use]
    pub fn work(&self) -> Option<Work> {
        match self.state {
            State::Wiping => Some(Work::Wipe),
            State::Verifying if self.dirty => Some(Work::Wipe),
            State::Verifying => Some(Work::Measure),
            State::Enrolling
            | State::Available
            | State::Cordoned
            | State::Reserved
            | State::Leased
            | State::Faulty
            | State::Retired => None,
        }
    }

    /// What a verification makes of the machine.
    ///
    /// # Errors
    ///
    /// [`Error::Fenced`] when a later attempt has begun or this one was called off.
    pub fn record_verification(
        &self,
        attempt: i64,
        result: Verification,
        now: DateTime<Utc>,
    ) -> Result<Self> {
        if self.has_ended(attempt, Work::Measure)? {
            return Ok(self.clone());
        }
        match result {
            Verification::Measured { facts, host_key } => self.measured(*facts, host_key, now),
            Verification::Failed(reason) => self.apply(Event::Failed(reason), now),
            Verification::Delayed(reason) => Ok(self.delayed(reason, now)),
        }
    }

    /// What a wipe makes of the machine.
    ///
    /// # Errors
    ///
    /// [`Error::Fenced`] when a later attempt has begun or this one was called off.
    pub fn record_wipe(&self, attempt: i64, result: Wipe, now: DateTime<Utc>) -> Result<Self> {
        if self.has_ended(attempt, Work::Wipe)? {
            return Ok(self.clone());
        }
        match result {
            Wipe::Done { .. } => self.apply(Event::Wiped, now),
            Wipe::Failed(reason) => self.apply(Event::Failed(reason), now),
            Wipe::Delayed(reason) => Ok(self.delayed(reason, now)),
        }
    }

    /// Whether the result of this attempt was recorded before; a repeat
    /// changes nothing.
    fn has_ended(&self, attempt: i64, work: Work) -> Result<bool> {
        if attempt == self.attempt && self.work().is_none_or(|now| now == work) {
            Ok(self.work().is_none())
        } else {
            Err(Error::Fenced {
                have: attempt.unsigned_abs(),
                want: self.attempt.unsigned_abs(),
            })
        }
    }

    fn measured(&self, facts: Facts, seen: Option<HostKey>, now: DateTime<Utc>) -> Result<Self> {
        let mut wrong = facts.differences(&self.claim);
        let mut after = self.clone();
        after.facts = Some(facts);
        after.verify_time = Some(now);
        match seen {
            Some(key) if !key.is_same_key(&self.host_key) => wrong.insert(
                0,
                format!(
                    "host key {} seen, {} pinned; if it was changed on purpose, update the machine",
                    key.fingerprint(),
                    self.host_key.fingerprint()
                ),
            ),
            Some(key) if key.is_whole() => after.host_key = key,
            Some(_) | None => {}
        }
        let event = if wrong.is_empty() {
            Event::Verified
        } else {
            Event::Failed(wrong.join("; "))
        };
        after.apply(event, now)
    }

    /// To the end of the queue, so that one machine that does not answer does
    /// not keep others waiting.
    fn delayed(&self, reason: String, now: DateTime<Utc>) -> Self {
        Self {
            status_reason: reason,
            work_time: now,
            ..self.clone()
        }
    }
}
