//! A row of `lease` as a [`Lease`].

use crate::domain::{CloseReason, Grant, Lease, Requirements, State, Wish};
use berth_core::{AccountId, Currency, Error, LeaseId, MachineId, Money, OfferId, Result};
use chrono::{DateTime, TimeDelta, Utc};

#[derive(sqlx::FromRow)]
pub(super) struct Row {
    id: LeaseId,
    account_id: AccountId,
    wanted_offer: Option<OfferId>,
    #[sqlx(json(nullable))]
    requirements: Option<Requirements>,
    max_currency: Option<String>,
    max_micros: Option<i64>,
    term_seconds: i64,
    display_name: String,
    state: State,
    status_reason: String,
    close_reason: Option<CloseReason>,
    machine_id: Option<MachineId>,
    offer_id: Option<OfferId>,
    currency: Option<String>,
    price_micros: Option<i64>,
    max_seconds: Option<i64>,
    start_time: Option<DateTime<Utc>>,
    expire_time: Option<DateTime<Utc>>,
    end_time: Option<DateTime<Utc>>,
    charged_until: Option<DateTime<Utc>>,
    cost_micros: i64,
    unpaid_since: Option<DateTime<Utc>>,
    version: i64,
    create_time: DateTime<Utc>,
}

impl Row {
    pub(super) fn lease(self) -> Result<Lease> {
        Ok(Lease {
            wish: self.wish()?,
            grant: self.grant()?,
            id: self.id,
            account_id: self.account_id,
            term: TimeDelta::seconds(self.term_seconds),
            display_name: self.display_name,
            state: self.state,
            status_reason: self.status_reason,
            close_reason: self.close_reason,
            start_time: self.start_time,
            expire_time: self.expire_time,
            end_time: self.end_time,
            charged_until: self.charged_until,
            cost_micros: self.cost_micros,
            unpaid_since: self.unpaid_since,
            version: self.version,
            create_time: self.create_time,
        })
    }

    fn wish(&self) -> Result<Wish> {
        match (self.wanted_offer, &self.max_currency, self.max_micros) {
            (Some(offer), _, _) => Ok(Wish::Offer(offer)),
            (None, Some(currency), Some(micros)) => Ok(Wish::Cheapest {
                requirements: self.requirements.clone().unwrap_or_default(),
                max_price: money(currency, micros)?,
            }),
            (None, _, _) => Err(Error::internal("a lease that wants nothing")),
        }
    }

    fn grant(&self) -> Result<Option<Grant>> {
        let (Some(machine_id), Some(offer_id), Some(currency), Some(micros)) = (
            self.machine_id,
            self.offer_id,
            &self.currency,
            self.price_micros,
        ) else {
            return Ok(None);
        };
        Ok(Some(Grant {
            machine_id,
            offer_id,
            price: money(currency, micros)?,
            max_term: self.max_seconds.map(TimeDelta::seconds),
        }))
    }
}

/// An amount as two columns keep it.
pub(super) fn money(currency: &str, micros: i64) -> Result<Money> {
    let currency: Currency = currency.parse().map_err(Error::internal)?;
    Ok(Money::new(currency, micros))
}
