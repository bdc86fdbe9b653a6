//! Offers: a machine at a price and terms.

use berth_core::{AccountId, Currency, MachineId, Money, Name, OfferId};
use chrono::{DateTime, TimeDelta, Utc};
use std::fmt;
use std::str::FromStr;

/// Shortest term that an offer or a lease may name.
pub const MIN_TERM: TimeDelta = TimeDelta::minutes(1);
/// Longest term that an offer or a lease may name.
pub const MAX_TERM: TimeDelta = TimeDelta::days(5 * 366);

/// What became of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum OfferState {
    /// May be leased.
    Open,
    /// Withdrawn.
    Closed,
}

/// How long leases under an offer may be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Terms {
    /// Shortest; none means any.
    pub min: Option<TimeDelta>,
    /// Longest; none means any.
    pub max: Option<TimeDelta>,
}

impl Terms {
    /// Whether a lease may be that long.
    #[must_use]
    pub fn allow(self, term: TimeDelta) -> bool {
        self.min.is_none_or(|min| min <= term) && self.max.is_none_or(|max| term <= max)
    }
}

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.min, self.max) {
            (None, None) => f.write_str("of any term"),
            (Some(min), None) => write!(f, "of at least {} seconds", min.num_seconds()),
            (None, Some(max)) => write!(f, "of at most {} seconds", max.num_seconds()),
            (Some(min), Some(max)) => {
                write!(
                    f,
                    "of {} to {} seconds",
                    min.num_seconds(),
                    max.num_seconds()
                )
            }
        }
    }
}

/// An offer about to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOffer {
    /// The machine.
    pub machine_id: MachineId,
    /// Price of an hour.
    pub price: Money,
    /// How long leases may be.
    pub terms: Terms,
}

/// A machine at a price and terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Identifier.
    pub id: OfferId,
    /// The account of its supplier.
    pub account_id: AccountId,
    /// The machine.
    pub machine_id: MachineId,
    /// Price of an hour.
    pub price: Money,
    /// How long leases may be.
    pub terms: Terms,
    /// What became of it.
    pub state: OfferState,
    /// Grows with every change.
    pub version: i64,
    /// When it was made.
    pub create_time: DateTime<Utc>,
    /// Name of the machine.
    pub machine_name: Name,
    /// Whether the machine is free now.
    pub machine_available: bool,
}

/// Place of an offer in the list of all: by currency, then cheapest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Currency.
    pub currency: Currency,
    /// Price of an hour.
    pub price_micros: i64,
    /// Which of equal ones.
    pub id: OfferId,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.currency, self.price_micros, self.id)
    }
}

impl FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(3, '/');
        let mut next = || parts.next().ok_or(());
        Ok(Self {
            currency: next()?.parse().map_err(|_| ())?,
            price_micros: next()?.parse().map_err(|_| ())?,
            id: next()?.parse().map_err(|_| ())?,
        })
    }
}

impl Offer {
    /// Its place in the list of all offers.
    #[must_use]
    pub fn place(&self) -> Place {
        Place {
            currency: self.price.currency,
            price_micros: self.price.micros,
            id: self.id,
        }
    }

    /// Whether an account may see it: open ones are everybody's.
    #[must_use]
    pub fn is_visible_to(&self, account: AccountId) -> bool {
        self.state == OfferState::Open || self.account_id == account
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_include_their_ends() {
        let terms = Terms {
            min: Some(TimeDelta::hours(1)),
            max: Some(TimeDelta::hours(2)),
        };
        for (minutes, allowed) in [(59, false), (60, true), (120, true), (121, false)] {
            assert_eq!(
                terms.allow(TimeDelta::minutes(minutes)),
                allowed,
                "{minutes}"
            );
        }
        assert!(Terms::default().allow(MAX_TERM));
    }

    #[test]
    fn a_place_survives_text() {
        let place = Place {
            currency: Currency::EUR,
            price_micros: 1,
            id: OfferId::generate(),
        };
        assert_eq!(place.to_string().parse(), Ok(place));
        assert_eq!("EUR/x/1".parse::<Place>(), Err(()));
    }
}
