//! What a lease costs and when it ends for want of money or time.

use super::{CloseReason, Lease, State};
use berth_core::{Error, Money, Result};
use chrono::{DateTime, TimeDelta, Utc};

/// How leases are charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How often.
    pub charge_every: TimeDelta,
    /// How long a lease runs on once its account owes money.
    pub grace: TimeDelta,
}

/// What is to be charged now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charge {
    /// How much; never negative.
    pub amount: Money,
    /// Up to when the lease is paid then.
    pub until: DateTime<Utc>,
}

/// What becomes of an active lease after it was charged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Review {
    /// It goes on.
    Goes {
        /// Since when its account owes money.
        unpaid_since: Option<DateTime<Utc>>,
        /// What people should know.
        notice: String,
        /// When to look again.
        again: TimeDelta,
    },
    /// It ends.
    Ends {
        /// Why.
        reason: CloseReason,
        /// The same for people.
        message: String,
    },
}

impl Lease {
    /// What it must have cost up to a time: of whole seconds since its start,
    /// so that it does not matter how often it was charged.
    #[must_use]
    pub fn cost(&self, time: DateTime<Utc>) -> Option<Money> {
        let (grant, start) = (self.grant?, self.start_time?);
        Some(grant.price.for_time(self.within(start, time) - start))
    }

    /// What is still to be charged up to a time; nothing for a lease that
    /// never began or was charged already.
    #[must_use]
    pub fn charge(&self, time: DateTime<Utc>) -> Option<Charge> {
        let until = self.within(self.start_time?, time);
        let cost = self.cost(time)?;
        let amount = Money::new(cost.currency, cost.micros - self.cost_micros);
        (amount.micros > 0).then_some(Charge { amount, until })
    }

    /// The lease once that was charged.
    #[must_use]
    pub fn charged(&self, charge: Charge) -> Self {
        Self {
            cost_micros: self.cost_micros + charge.amount.micros,
            charged_until: Some(charge.until),
            ..self.clone()
        }
    }

    /// What must be there for it before it starts: its first hour.
    #[must_use]
    pub fn deposit(&self) -> Option<Money> {
        let first = self.term.min(TimeDelta::hours(1));
        Some(self.grant?.price.for_time(first))
    }

    /// What becomes of it, given the balance after the charge.
    #[must_use]
    pub fn review(&self, balance: Money, policy: Policy, now: DateTime<Utc>) -> Option<Review> {
        let (State::Active, Some(expire)) = (self.state, self.expire_time) else {
            return None;
        };
        if now >= expire {
            return Some(Review::Ends {
                reason: CloseReason::Expired,
                message: "its time was up".to_owned(),
            });
        }
        let again = policy.charge_every.min(expire - now);
        if balance.micros >= 0 {
            return Some(Review::Goes {
                unpaid_since: None,
                notice: String::new(),
                again,
            });
        }
        let unpaid_since = self.unpaid_since.unwrap_or(now);
        let last = unpaid_since + policy.grace;
        Some(if now >= last {
            Review::Ends {
                reason: CloseReason::InsufficientFunds,
                message: format!("the account could not pay any more; its balance is {balance}"),
            }
        } else {
            Review::Goes {
                unpaid_since: Some(unpaid_since),
                notice: format!(
                    "the account owes money (balance {balance}): the lease ends at {} unless it \
                     is paid",
                    last.format("%Y-%m-%d %H:%M:%S UTC")
                ),
                again: again.min(last - now),
            }
        })
    }
}

/// Whether an account can begin a lease: its balance less what its running
/// leases may still take in their first hours covers the deposit.
///
/// # Errors
///
/// [`Error::Exhausted`] saying how much is missing.
pub fn funds(balance: Money, spoken_for: i64, deposit: Money) -> Result<()> {
    let free = balance.micros.saturating_sub(spoken_for);
    if free >= deposit.micros {
        return Ok(());
    }
    let missing = Money::new(deposit.currency, deposit.micros.saturating_sub(free));
    let others = if spoken_for > 0 {
        format!(
            ", of which running leases need {}",
            Money::new(balance.currency, spoken_for)
        )
    } else {
        String::new()
    };
    Err(Error::exhausted(
        "INSUFFICIENT_FUNDS",
        format!(
            "the first hour costs {deposit} and the balance is {balance}{others}; add {missing} \
             or more"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::super::Grant;
    use super::super::fixture::{grant, lease};
    use super::*;
    use berth_core::Currency;
    use proptest::prelude::*;

    const POLICY: Policy = Policy {
        charge_every: TimeDelta::seconds(10),
        grace: TimeDelta::seconds(60),
    };

    fn at(millis: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::milliseconds(millis)
    }

    fn euro(micros: i64) -> Money {
        Money::new(Currency::EUR, micros)
    }

    #[test]
    fn whole_seconds_are_charged_once() {
        let lease = lease(State::Active);
        assert_eq!(lease.charge(at(999)), None);
        let charge = lease.charge(at(1500)).unwrap();
        assert_eq!(charge.amount, euro(278));
        let charged = lease.charged(charge);
        assert_eq!(charged.charge(at(1999)), None);
        assert_eq!(charged.charge(at(0)), None, "a clock that went back");
        assert_eq!(charged.charge(at(2000)).unwrap().amount, euro(278));
    }

    #[test]
    fn nothing_is_charged_before_the_start_or_after_the_end() {
        assert_eq!(lease(State::Pending).charge(at(10_000)), None);
        let late = lease(State::Active).charge(at(99_999_999)).unwrap();
        assert_eq!(late.amount, euro(2_000_000));
    }

    #[test]
    fn a_deposit_is_an_hour_or_the_whole_of_a_shorter_term() {
        let long = lease(State::Pending);
        assert_eq!(long.deposit(), Some(euro(1_000_000)));
        let short = Lease {
            term: TimeDelta::minutes(6),
            ..long.clone()
        };
        assert_eq!(short.deposit(), Some(euro(100_000)));
        let none = Lease {
            grant: None,
            ..long
        };
        assert_eq!(none.deposit(), None);
    }

    #[test]
    fn a_review_looks_at_time_first_and_then_at_money() {
        let active = lease(State::Active);
        let unpaid = Lease {
            unpaid_since: Some(at(0)),
            ..active.clone()
        };
        let ends = |review: Option<Review>| match review.unwrap() {
            Review::Ends { reason, .. } => Some(reason),
            Review::Goes { .. } => None,
        };
        let review = |lease: &Lease, micros, millis| lease.review(euro(micros), POLICY, at(millis));
        assert_eq!(ends(review(&active, 0, 7_199_999)), None);
        assert_eq!(
            ends(review(&active, -1, 7_200_000)),
            Some(CloseReason::Expired)
        );
        assert_eq!(ends(review(&unpaid, -1, 59_999)), None);
        assert_eq!(
            ends(review(&unpaid, -1, 60_000)),
            Some(CloseReason::InsufficientFunds)
        );
        assert_eq!(ends(review(&unpaid, 0, 60_000)), None);
        assert_eq!(review(&lease(State::Ending), 0, 0), None);
        let first = review(&active, -1, 5000).unwrap();
        let Review::Goes {
            unpaid_since,
            notice,
            again,
        } = first
        else {
            panic!("{first:?}");
        };
        assert_eq!(
            (unpaid_since, again),
            (Some(at(5000)), TimeDelta::seconds(10))
        );
        assert_eq!(
            notice,
            "the account owes money (balance -0.000001 EUR): the lease ends at \
             1970-01-01 00:01:05 UTC unless it is paid"
        );
    }

    #[test]
    fn the_next_look_is_not_later_than_the_next_decision() {
        let again = |lease: &Lease, micros, millis| {
            let Some(Review::Goes { again, .. }) = lease.review(euro(micros), POLICY, at(millis))
            else {
                panic!("it ends");
            };
            again.num_milliseconds()
        };
        let active = lease(State::Active);
        assert_eq!(again(&active, 0, 0), 10_000);
        assert_eq!(again(&active, 0, 7_199_000), 1000);
        let unpaid = Lease {
            unpaid_since: Some(at(0)),
            ..active
        };
        assert_eq!(again(&unpaid, -1, 58_000), 2000);
    }

    #[test]
    fn money_that_running_leases_need_is_not_there_for_another() {
        assert!(funds(euro(10), 0, euro(10)).is_ok());
        assert!(funds(euro(10), 3, euro(7)).is_ok());
        let refused = funds(euro(1_500_000), 1_000_000, euro(1_000_000)).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the first hour costs 1.00 EUR and the balance is 1.50 EUR, of which running leases \
             need 1.00 EUR; add 0.50 EUR or more"
        );
        assert!(funds(euro(i64::MIN), 1, euro(1)).is_err());
    }

    proptest! {
        /// However the time is cut into charges, and whatever the price, the
        /// sum is that of one charge for the whole.
        #[test]
        fn the_sum_of_charges_does_not_depend_on_when_they_are_made(
            price in 1_i64..=1_000_000_000_000_000,
            mut times in prop::collection::vec(-1000_i64..8_000_000, 1..40),
            ordered in any::<bool>(),
        ) {
            if ordered {
                times.sort_unstable();
            }
            let start = Lease {
                grant: Some(Grant { price: euro(price), ..grant() }),
                ..lease(State::Active)
            };
            let mut charged = start.clone();
            let mut sum = 0;
            for time in &times {
                if let Some(charge) = charged.charge(at(*time)) {
                    prop_assert!(charge.amount.micros > 0);
                    sum += charge.amount.micros;
                    charged = charged.charged(charge);
                }
            }
            let last = times.iter().copied().max().unwrap_or(0);
            let whole = start.charge(at(last)).map_or(0, |charge| charge.amount.micros);
            prop_assert_eq!(sum, whole);
            prop_assert_eq!(charged.cost_micros, whole);
        }
    }
}
