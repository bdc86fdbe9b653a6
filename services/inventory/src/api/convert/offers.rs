//! Offers and their terms.

use super::super::pb;
use crate::domain::{MAX_TERM, MIN_TERM, Offer, OfferState, Terms};
use berth_core::{Money, Result, Violations};
use berth_runtime::wire;

/// The machine (identifier or name), price and terms of a new offer.
pub(in super::super) fn new_offer(spec: Option<&pb::OfferSpec>) -> Result<(String, Money, Terms)> {
    let mut violations = Violations::default();
    let Some(spec) = spec else {
        violations.add("spec", "is required");
        return violations.finish(None);
    };
    if spec.machine_id.is_empty() {
        violations.add("spec.machine_id", "is required");
    }
    let price = violations.absorb(
        wire::required("spec.price_per_hour", spec.price_per_hour.as_ref())
            .and_then(|price| wire::positive_money("spec.price_per_hour", price)),
    )?;
    let mut term = |field, value: Option<prost_types::Duration>| match value {
        Some(value) => violations.absorb(wire::span(field, value, MIN_TERM, MAX_TERM)),
        None => Ok(None),
    };
    let terms = Terms {
        min: term("spec.min_term", spec.min_term)?,
        max: term("spec.max_term", spec.max_term)?,
    };
    if terms.min.zip(terms.max).is_some_and(|(min, max)| min > max) {
        violations.add("spec.max_term", "must not be shorter than `min_term`");
    }
    violations.finish(price.map(|price| (spec.machine_id.clone(), price, terms)))
}

impl From<Offer> for pb::Offer {
    fn from(offer: Offer) -> Self {
        Self {
            id: offer.id.to_string(),
            etag: wire::etag(offer.version),
            create_time: Some(wire::timestamp(offer.create_time)),
            spec: Some(pb::OfferSpec {
                machine_id: offer.machine_id.to_string(),
                price_per_hour: Some(wire::money(offer.price)),
                min_term: offer.terms.min.map(wire::duration),
                max_term: offer.terms.max.map(wire::duration),
            }),
            status: Some(pb::OfferStatus {
                state: pb::offer_status::State::from(offer.state).into(),
                machine_available: offer.machine_available,
                machine_name: offer.machine_name.to_string(),
            }),
        }
    }
}

impl From<OfferState> for pb::offer_status::State {
    fn from(state: OfferState) -> Self {
        match state {
            OfferState::Open => Self::Open,
            OfferState::Closed => Self::Closed,
        }
    }
}
