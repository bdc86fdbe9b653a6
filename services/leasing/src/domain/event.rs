//! What an account should know of its leases and its money, and when it is
//! told: before a lease ends, before a balance is empty, when nothing is paid,
//! when a lease has ended.
//!
//! An event is the same event whoever finds it due and however often: its
//! topic, its object, its occasion and how long before it is told.

use super::{Lease, State};
use berth_core::{AccountId, Currency, EventId, LeaseId, Money};
use chrono::{DateTime, TimeDelta, Utc};
use std::fmt;
use std::str::FromStr;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text")]
pub enum Topic {
    /// A lease ends soon unless it is extended.
    #[sqlx(rename = "lease.ends_soon")]
    LeaseEndsSoon,
    /// A lease is not paid any more, and ends unless it is.
    #[sqlx(rename = "lease.unpaid")]
    LeaseUnpaid,
    /// A lease that was not paid is paid again.
    #[sqlx(rename = "lease.paid")]
    LeasePaid,
    /// A lease that had begun has ended.
    #[sqlx(rename = "lease.ended")]
    LeaseEnded,
    /// A balance will be empty before its leases are over.
    #[sqlx(rename = "balance.low")]
    BalanceLow,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::LeaseEndsSoon,
        Self::LeaseUnpaid,
        Self::LeasePaid,
        Self::LeaseEnded,
        Self::BalanceLow,
    ];

    /// Its name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LeaseEndsSoon => "lease.ends_soon",
            Self::LeaseUnpaid => "lease.unpaid",
            Self::LeasePaid => "lease.paid",
            Self::LeaseEnded => "lease.ended",
            Self::BalanceLow => "balance.low",
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Topic {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|topic| topic.as_str() == text)
            .ok_or_else(|| {
                let all = Self::ALL.map(Self::as_str).join(", ");
                format!("is none of the topics {all}")
            })
    }
}

/// What an event is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Object {
    /// A lease.
    Lease(LeaseId),
    /// What the account has in a currency.
    Balance(Currency),
}

/// An event about to be written, unless it is already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Who is to know.
    pub account_id: AccountId,
    /// What it is about.
    pub topic: Topic,
    /// What it is of.
    pub object: Object,
    /// Which one of its topic it is.
    pub occasion: DateTime<Utc>,
    /// How long before the occasion it is told.
    pub ahead: TimeDelta,
    /// When something stops unless somebody acts.
    pub stop_time: Option<DateTime<Utc>>,
    /// The same for people.
    pub message: String,
}

/// Something that an account should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountEvent {
    /// Identifier, the same in every delivery.
    pub id: EventId,
    /// Who is to know.
    pub account_id: AccountId,
    /// What it is about; a test of a webhook has no topic of ours.
    pub topic: Option<Topic>,
    /// What it is of.
    pub object: Option<Object>,
    /// When something stops unless somebody acts.
    pub stop_time: Option<DateTime<Utc>>,
    /// The same for people.
    pub message: String,
    /// When it was written.
    pub create_time: DateTime<Utc>,
}

/// How long before the end of something its account is told, longest first.
const AHEAD: [TimeDelta; 2] = [TimeDelta::hours(24), TimeDelta::hours(1)];

/// A time as messages say it.
fn said(time: DateTime<Utc>) -> impl fmt::Display {
    time.format("%Y-%m-%d %H:%M:%S UTC")
}

impl Lease {
    /// How long before its end it is told: a day and an hour, but nothing that
    /// is more than half of its time; a quarter of it where neither fits.
    fn ahead(&self) -> Vec<TimeDelta> {
        let (Some(start), Some(expire)) = (self.start_time, self.expire_time) else {
            return Vec::new();
        };
        let fit: Vec<_> = AHEAD
            .into_iter()
            .filter(|ahead| *ahead * 2 <= expire - start)
            .collect();
        if fit.is_empty() {
            vec![(expire - start) / 4]
        } else {
            fit
        }
    }

    /// That it ends soon, once it does: told anew when its end has moved.
    #[must_use]
    pub fn ends_soon(&self, now: DateTime<Utc>) -> Option<NewEvent> {
        let (State::Active, Some(expire)) = (self.state, self.expire_time) else {
            return None;
        };
        let left = expire - now;
        let ahead = self
            .ahead()
            .into_iter()
            .rfind(|ahead| left <= *ahead && left > TimeDelta::zero())?;
        Some(NewEvent {
            occasion: expire,
            ahead,
            stop_time: Some(expire),
            message: format!(
                "lease {} ends at {} unless it is extended; its nodes stop then and its machine is \
                 wiped",
                self.id,
                said(expire)
            ),
            ..self.event(Topic::LeaseEndsSoon)
        })
    }

    /// How long until it is told next that it ends soon.
    #[must_use]
    pub fn until_told(&self, now: DateTime<Utc>) -> Option<TimeDelta> {
        let left = self.expire_time? - now;
        let next = self.ahead().into_iter().find(|ahead| *ahead < left)?;
        Some(left - next)
    }

    /// What a change of it is to its account; an unpaid lease ends after the
    /// grace.
    #[must_use]
    pub fn became(&self, after: &Self, grace: TimeDelta) -> Option<NewEvent> {
        let begun = self.start_time?;
        if self.state == State::Active && after.state == State::Ending {
            return Some(NewEvent {
                occasion: after.end_time.unwrap_or(begun),
                message: format!(
                    "lease {} ended at {}: {}; its machine is being wiped",
                    self.id,
                    said(after.end_time.unwrap_or(begun)),
                    after.status_reason
                ),
                ..self.event(Topic::LeaseEnded)
            });
        }
        match (self.unpaid_since, after.unpaid_since) {
            (None, Some(since)) => {
                let last = since + grace;
                Some(NewEvent {
                    occasion: since,
                    stop_time: Some(last),
                    message: format!(
                        "the account owes money: lease {} ends at {} unless it is paid; its nodes \
                         stop then and its machine is wiped",
                        self.id,
                        said(last)
                    ),
                    ..self.event(Topic::LeaseUnpaid)
                })
            }
            (Some(since), None) => Some(NewEvent {
                occasion: since,
                message: format!("lease {} is paid again and goes on", self.id),
                ..self.event(Topic::LeasePaid)
            }),
            (None, None) | (Some(_), Some(_)) => None,
        }
    }

    fn event(&self, topic: Topic) -> NewEvent {
        NewEvent {
            account_id: self.account_id,
            topic,
            object: Object::Lease(self.id),
            occasion: self.create_time,
            ahead: TimeDelta::zero(),
            stop_time: None,
            message: String::new(),
        }
    }
}

/// What a running lease still takes of a balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Burn {
    /// Millionths an hour.
    pub micros_per_hour: i64,
    /// Up to when it is paid.
    pub charged_until: DateTime<Utc>,
    /// When it is over.
    pub expire_time: DateTime<Utc>,
}

/// When a balance is empty if its leases run as long as they are to; nothing
/// if it lasts.
#[must_use]
pub fn empty_time(balance: Money, burns: &[Burn], now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    const HOUR: i128 = 3_600_000;
    let cost = |burn: &Burn, until: DateTime<Utc>| {
        let time = until.min(burn.expire_time) - burn.charged_until;
        i128::from(burn.micros_per_hour) * i128::from(time.num_milliseconds().max(0))
    };
    let mut ends: Vec<_> = burns.iter().map(|burn| burn.expire_time).collect();
    ends.push(now);
    ends.sort_unstable();
    let have = i128::from(balance.micros) * HOUR;
    let need = |time| burns.iter().map(|burn| cost(burn, time)).sum::<i128>();
    let mut from = now;
    for to in ends.into_iter().filter(|end| *end >= now) {
        if need(to) > have {
            let rate: i128 = burns
                .iter()
                .filter(|burn| burn.expire_time > from)
                .map(|burn| i128::from(burn.micros_per_hour))
                .sum();
            let left = (have - need(from)).max(0) / rate.max(1);
            return Some(from + TimeDelta::milliseconds(i64::try_from(left).unwrap_or(0)));
        }
        from = to;
    }
    None
}

/// What is told of a balance, and for which span before its end it was told
/// then.
#[must_use]
pub fn balance_low(
    account_id: AccountId,
    balance: Money,
    empty: Option<DateTime<Utc>>,
    warned: Option<TimeDelta>,
    (now, grace): (DateTime<Utc>, TimeDelta),
) -> (Option<NewEvent>, Option<TimeDelta>) {
    let due = empty.and_then(|empty| {
        let ahead = AHEAD.into_iter().rfind(|ahead| empty - now <= *ahead)?;
        Some((empty, ahead))
    });
    let Some((empty, ahead)) = due else {
        return (None, None);
    };
    // An unpaid lease has an event of its own.
    let told = balance.micros < 0 || warned.is_some_and(|warned| warned <= ahead);
    let event = NewEvent {
        account_id,
        topic: Topic::BalanceLow,
        object: Object::Balance(balance.currency),
        occasion: empty,
        ahead,
        stop_time: Some(empty + grace),
        message: format!(
            "the balance of {balance} is empty at {} at what the running leases cost; from then on \
             they are not paid, and they end at {}; credit the account or end leases",
            said(empty),
            said(empty + grace)
        ),
    };
    ((!told).then_some(event), Some(ahead))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::lease;
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn euro(micros: i64) -> Money {
        Money::new(Currency::EUR, micros)
    }

    /// An active lease of so many seconds.
    fn of(seconds: i64) -> Lease {
        Lease {
            expire_time: Some(at(seconds)),
            ..lease(State::Active)
        }
    }

    #[test]
    fn a_lease_is_told_of_a_day_and_an_hour_before_its_end_or_later_if_it_is_short() {
        // Length, now, told so long before, next time in.
        let hour = 3600;
        let table = [
            (72 * hour, 0, None, Some(48 * hour)),
            (72 * hour, 48 * hour, Some(24 * hour), Some(23 * hour)),
            (72 * hour, 71 * hour, Some(hour), None),
            (72 * hour, 72 * hour, None, None),
            (24 * hour, 0, None, Some(23 * hour)),
            (24 * hour, 23 * hour + 1, Some(hour), None),
            (2 * hour, hour - 1, None, Some(1)),
            (2 * hour, hour, Some(hour), None),
            (hour, 44 * 60, None, Some(60)),
            (hour, 45 * 60, Some(15 * 60), None),
            (60, 44, None, Some(1)),
            (60, 45, Some(15), None),
        ];
        for (length, now, ahead, next) in table {
            let lease = of(length);
            let told = lease.ends_soon(at(now));
            let found = told.map(|event| event.ahead.num_seconds());
            assert_eq!(found, ahead, "{length} {now}");
            let until = lease.until_told(at(now)).map(|until| until.num_seconds());
            assert_eq!(until, next, "{length} {now}");
        }
        assert_eq!(lease(State::Ending).ends_soon(at(7000)), None);
    }

    #[test]
    fn a_lease_that_is_extended_is_told_of_again() {
        let first = of(7200).ends_soon(at(7000)).unwrap();
        let extended = of(7200).extend(TimeDelta::hours(1), at(7000)).unwrap();
        assert_eq!(extended.ends_soon(at(7000)), None);
        let second = extended.ends_soon(at(9000)).unwrap();
        assert_ne!(first.occasion, second.occasion);
    }

    #[test]
    fn changes_of_a_lease_are_told_with_when_it_stops() {
        let active = of(7200);
        let unpaid = Lease {
            unpaid_since: Some(at(100)),
            ..active.clone()
        };
        let ended = Lease {
            state: State::Ending,
            end_time: Some(at(160)),
            status_reason: "its time was up".to_owned(),
            ..unpaid.clone()
        };
        let grace = TimeDelta::seconds(60);
        let told = |before: &Lease, after: &Lease| {
            let event = before.became(after, grace)?;
            Some((event.topic, event.stop_time))
        };
        assert_eq!(told(&active, &active), None);
        assert_eq!(
            told(&active, &unpaid),
            Some((Topic::LeaseUnpaid, Some(at(160))))
        );
        assert_eq!(told(&unpaid, &unpaid), None);
        assert_eq!(told(&unpaid, &active), Some((Topic::LeasePaid, None)));
        assert_eq!(told(&unpaid, &ended), Some((Topic::LeaseEnded, None)));
        assert_eq!(told(&ended, &ended), None);
        let message = unpaid.became(&ended, grace).unwrap().message;
        assert!(
            message.contains("ended at 1970-01-01 00:02:40 UTC: its time was up"),
            "{message}"
        );
        // It never began.
        let refused = Lease {
            state: State::Ending,
            ..lease(State::Pending)
        };
        assert_eq!(told(&lease(State::Pending), &refused), None);
    }

    fn burn(euro_per_hour: i64, until: i64, expire: i64) -> Burn {
        Burn {
            micros_per_hour: euro_per_hour * 1_000_000,
            charged_until: at(until),
            expire_time: at(expire),
        }
    }

    #[test]
    fn a_balance_is_empty_when_the_leases_that_still_run_have_used_it_up() {
        let hour = 3600;
        let empty = |euros: i64, burns: &[Burn], now: i64| {
            empty_time(euro(euros * 1_000_000), burns, at(now)).map(|time| time.timestamp())
        };
        assert_eq!(empty(0, &[], 0), None);
        assert_eq!(empty(1, &[burn(1, 0, hour)], 0), None, "just enough");
        assert_eq!(empty(1, &[burn(1, 0, 2 * hour)], 0), Some(hour));
        assert_eq!(empty(1, &[burn(1, 0, 2 * hour)], 600), Some(hour));
        // Two until one is over, then one: 2 + 2 + 1 + 1 …
        let two = [burn(1, 0, 2 * hour), burn(1, 0, 10 * hour)];
        assert_eq!(empty(3, &two, 0), Some(hour * 3 / 2));
        assert_eq!(empty(6, &two, 0), Some(4 * hour));
        assert_eq!(empty(12, &two, 0), None);
        // Empty already, by what is not charged yet too.
        assert_eq!(empty(-1, &[burn(1, 0, 2 * hour)], 0), Some(0));
        assert_eq!(empty(1, &[burn(1, 0, 10 * hour)], 2 * hour), Some(2 * hour));
    }

    #[test]
    fn a_low_balance_is_told_once_a_day_before_and_once_an_hour_before() {
        let account = AccountId::generate();
        let mut warned = None;
        let mut look = |seconds: Option<i64>, micros| {
            let empty = seconds.map(at);
            let time = (at(0), TimeDelta::seconds(60));
            let (event, now) = balance_low(account, euro(micros), empty, warned, time);
            warned = now;
            event.map(|event| event.ahead.num_hours())
        };
        assert_eq!(look(None, 1), None);
        assert_eq!(look(Some(90_000), 1), None);
        assert_eq!(look(Some(86_400), 1), Some(24));
        assert_eq!(look(Some(86_000), 1), None);
        assert_eq!(look(Some(3600), 1), Some(1));
        assert_eq!(look(Some(10), 1), None);
        // Credited for some hours: told again when those are over.
        assert_eq!(look(Some(9000), 1), None);
        assert_eq!(look(Some(3000), 1), Some(1));
        // Credited for long, and used up again.
        assert_eq!(look(None, 1), None);
        assert_eq!(look(Some(80_000), 1), Some(24));
        // What is not paid any more has an event of its own.
        assert_eq!(look(Some(0), -1), None);
    }
}
