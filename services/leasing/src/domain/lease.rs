//! The life of one lease.

use super::Wish;
use berth_core::{AccountId, Error, LeaseId, MachineId, Money, OfferId, Result};
use chrono::{DateTime, TimeDelta, Utc};
use std::fmt;

/// Shortest term, and shortest extension.
pub const MIN_TERM: TimeDelta = TimeDelta::minutes(1);
/// Longest term, extensions included.
pub const MAX_TERM: TimeDelta = TimeDelta::days(5 * 366);

/// Where a lease is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum State {
    /// Waiting for a machine.
    Pending,
    /// The machine may be used, and is paid for.
    Active,
    /// Being given back.
    Ending,
    /// Over.
    Closed,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pending => "PENDING",
            Self::Active => "ACTIVE",
            Self::Ending => "ENDING",
            Self::Closed => "CLOSED",
        })
    }
}

/// Why a lease ends or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum CloseReason {
    /// The account ended it.
    Owner,
    /// Its time was up.
    Expired,
    /// The account could not pay for it.
    InsufficientFunds,
    /// The supplier withdrew the machine.
    Supplier,
    /// The machine was lost.
    MachineLost,
    /// No machine fitted.
    NoCapacity,
}

/// What can happen to a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Inventory holds a machine for it.
    Granted(Grant),
    /// The machine is its own and the account can pay.
    Activate,
    /// It is to end.
    End {
        /// Why.
        reason: CloseReason,
        /// The same for people.
        message: String,
        /// From when on nothing is charged.
        at: DateTime<Utc>,
    },
    /// Inventory has the machine back.
    Released,
}

/// What inventory gave for a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// The machine.
    pub machine_id: MachineId,
    /// The offer it was taken under.
    pub offer_id: OfferId,
    /// Price of an hour.
    pub price: Money,
    /// Longest term that the offer allows.
    pub max_term: Option<TimeDelta>,
}

/// The right of one account to use one machine until a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Identifier.
    pub id: LeaseId,
    /// Who pays.
    pub account_id: AccountId,
    /// What was asked for.
    pub wish: Wish,
    /// How long it runs from when it becomes active.
    pub term: TimeDelta,
    /// Free text for people.
    pub display_name: String,
    /// Where it is in its life.
    pub state: State,
    /// Why, for people.
    pub status_reason: String,
    /// Why it ends or ended.
    pub close_reason: Option<CloseReason>,
    /// What inventory gave for it.
    pub grant: Option<Grant>,
    /// When it became active.
    pub start_time: Option<DateTime<Utc>>,
    /// When it ends unless extended.
    pub expire_time: Option<DateTime<Utc>>,
    /// When charging stopped.
    pub end_time: Option<DateTime<Utc>>,
    /// Up to when it was charged.
    pub charged_until: Option<DateTime<Utc>>,
    /// What was charged, in millionths of the price's currency.
    pub cost_micros: i64,
    /// Since when its account owes money.
    pub unpaid_since: Option<DateTime<Utc>>,
    /// Grows with every change.
    pub version: i64,
    /// When it was asked for.
    pub create_time: DateTime<Utc>,
}

impl Lease {
    /// What an event makes of this lease. What already happened changes
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Precondition`] when the state forbids the event.
    pub fn apply(&self, event: Event, now: DateTime<Utc>) -> Result<Self> {
        use State::{Active, Closed, Ending, Pending};
        let mut after = self.clone();
        match (self.state, event) {
            (Pending, Event::Granted(grant)) => after.grant = Some(grant),
            (Pending, Event::Activate) if self.grant.is_some() => {
                after.state = Active;
                after.status_reason.clear();
                after.start_time = Some(now);
                after.charged_until = Some(now);
                after.expire_time = Some(now + self.term);
            }
            (
                Pending | Active,
                Event::End {
                    reason,
                    message,
                    at,
                },
            ) => {
                after.state = Ending;
                after.close_reason = Some(reason);
                after.status_reason = message;
                after.end_time = self.start_time.map(|start| self.within(start, at));
            }
            (Ending, Event::Released) => after.state = Closed,
            (Active, Event::Activate)
            | (Ending | Closed, Event::End { .. })
            | (Closed, Event::Released) => {}
            (Pending | Ending | Closed, Event::Activate) => {
                return Err(self.refuse("activated"));
            }
            (Active | Ending | Closed, Event::Granted(_)) => {
                return Err(self.refuse("given a machine"));
            }
            (Pending | Active, Event::Released) => return Err(self.refuse("closed")),
        }
        Ok(after)
    }

    /// A time not before the start and not after the end of the lease.
    pub(super) fn within(&self, start: DateTime<Utc>, time: DateTime<Utc>) -> DateTime<Utc> {
        let end = self.end_time.or(self.expire_time);
        end.map_or(time, |end| time.min(end)).max(start)
    }

    /// Moves the end of an active lease, until that has come: from then on it
    /// is over, whether it was looked at or not.
    ///
    /// # Errors
    ///
    /// [`Error::Precondition`] when it is not active, its time is up or the
    /// offer forbids it.
    pub fn extend(&self, by: TimeDelta, now: DateTime<Utc>) -> Result<Self> {
        let (State::Active, Some(start), Some(expire), Some(grant)) =
            (self.state, self.start_time, self.expire_time, self.grant)
        else {
            return Err(self.refuse("extended"));
        };
        if now >= expire {
            return Err(Error::precondition(
                "LEASE_STATE",
                format!(
                    "the time of lease `{}` was up at {}; make a new lease",
                    self.id,
                    expire.format("%Y-%m-%d %H:%M:%S UTC")
                ),
            ));
        }
        let max = grant.max_term.unwrap_or(MAX_TERM).min(MAX_TERM);
        if expire + by > start + max {
            return Err(Error::precondition(
                "TERM_NOT_OFFERED",
                format!(
                    "the lease may run for at most {} seconds in all, until {}",
                    max.num_seconds(),
                    (start + max).format("%Y-%m-%d %H:%M:%S UTC")
                ),
            ));
        }
        Ok(Self {
            expire_time: Some(expire + by),
            ..self.clone()
        })
    }

    /// Whether it is on its way from one lasting state to another.
    #[must_use]
    pub fn is_reconciling(&self) -> bool {
        matches!(self.state, State::Pending | State::Ending)
    }

    /// Why the lease was refused, if it never began.
    #[must_use]
    pub fn refusal(&self) -> Option<Error> {
        let reason = match self.close_reason? {
            CloseReason::NoCapacity => "NO_CAPACITY",
            CloseReason::InsufficientFunds if self.start_time.is_none() => "INSUFFICIENT_FUNDS",
            CloseReason::InsufficientFunds
            | CloseReason::Owner
            | CloseReason::Expired
            | CloseReason::Supplier
            | CloseReason::MachineLost => return None,
        };
        Some(Error::exhausted(reason, &self.status_reason))
    }

    fn refuse(&self, verb: &str) -> Error {
        Error::precondition(
            "LEASE_STATE",
            format!("lease `{}` is {} and cannot be {verb}", self.id, self.state),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{grant, lease};
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn events() -> [Event; 4] {
        [
            Event::Granted(grant()),
            Event::Activate,
            Event::End {
                reason: CloseReason::Owner,
                message: "enough".to_owned(),
                at: at(10),
            },
            Event::Released,
        ]
    }

    #[test]
    fn every_state_and_event_is_decided() {
        use State::{Active, Closed, Ending, Pending};
        // Granted, Activate, End, Released
        let table = [
            (Pending, [Some(Pending), Some(Active), Some(Ending), None]),
            (Active, [None, Some(Active), Some(Ending), None]),
            (Ending, [None, None, Some(Ending), Some(Closed)]),
            (Closed, [None, None, Some(Closed), Some(Closed)]),
        ];
        for (state, row) in table {
            for (event, expected) in events().into_iter().zip(row) {
                let after = lease(state).apply(event.clone(), at(0));
                assert_eq!(after.ok().map(|l| l.state), expected, "{state} {event:?}");
            }
        }
    }

    #[test]
    fn a_lease_without_a_machine_cannot_begin() {
        let bare = Lease {
            grant: None,
            ..lease(State::Pending)
        };
        assert!(bare.apply(Event::Activate, at(0)).is_err());
    }

    #[test]
    fn a_lease_runs_for_its_term_from_when_it_begins() {
        let begun = lease(State::Pending).apply(Event::Activate, at(5)).unwrap();
        assert_eq!(begun.start_time, Some(at(5)));
        assert_eq!(begun.expire_time, Some(at(5 + 7200)));
    }

    #[test]
    fn charging_ends_within_the_lease_however_late_it_is_ended() {
        for (when, end) in [(-5, 0), (10, 10), (99_999, 7200)] {
            let event = Event::End {
                reason: CloseReason::Expired,
                message: String::new(),
                at: at(when),
            };
            let ended = lease(State::Active).apply(event, at(when)).unwrap();
            assert_eq!(ended.end_time, Some(at(end)), "{when}");
        }
    }

    #[test]
    fn an_extension_stops_at_what_the_offer_allows() {
        let active = lease(State::Active);
        let longer = active
            .extend(TimeDelta::seconds(86_400 - 7200), at(7199))
            .unwrap();
        assert_eq!(longer.expire_time, Some(at(86_400)));
        let minute = TimeDelta::seconds(60);
        assert!(longer.extend(minute, at(0)).is_err());
        assert!(lease(State::Ending).extend(minute, at(0)).is_err());
    }

    #[test]
    fn a_lease_whose_time_is_up_is_not_extended_even_if_nobody_ended_it() {
        let minute = TimeDelta::seconds(60);
        assert!(lease(State::Active).extend(minute, at(7199)).is_ok());
        assert!(lease(State::Active).extend(minute, at(7200)).is_err());
    }

    #[test]
    fn only_what_never_began_was_refused() {
        let closed = |reason| Lease {
            close_reason: Some(reason),
            ..lease(State::Closed)
        };
        assert!(closed(CloseReason::NoCapacity).refusal().is_some());
        assert!(closed(CloseReason::InsufficientFunds).refusal().is_none());
        let never = Lease {
            start_time: None,
            ..closed(CloseReason::InsufficientFunds)
        };
        assert!(never.refusal().is_some());
        assert!(closed(CloseReason::Expired).refusal().is_none());
        assert!(lease(State::Active).refusal().is_none());
    }
}
