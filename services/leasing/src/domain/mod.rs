//! Decisions about leases and money. No I/O and no clock: the time is an
//! argument.

mod address;
mod charge;
mod event;
#[cfg(test)]
mod fixture;
mod lease;
mod ledger;
mod webhook;
mod wish;

pub use address::{Network, is_public};
pub use charge::{Charge, Policy, Review, funds};
pub use event::{AccountEvent, Burn, NewEvent, Object, Topic, balance_low, empty_time};
pub use lease::{CloseReason, Event, Grant, Lease, MAX_TERM, MIN_TERM, State};
pub use ledger::{Balance, Entry, Kind, Transfer};
pub use webhook::{
    Answer, Delivery, DeliveryState, KEPT, MAX_WEBHOOKS, NewWebhook, Next, Webhook, WebhookChange,
    WebhookState,
};
pub use wish::{NewLease, Requirements, Wish, is_driver_version};
