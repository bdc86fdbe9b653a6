//! Between messages and domain types. Nothing else in this service but the
//! client of inventory sees both.

mod leases;
mod ledger;
mod webhooks;

pub(super) use leases::{end_reason, extension, lease, new_lease, state};
pub(super) use ledger::credit;
pub(super) use webhooks::{answer, delivery, event, new_webhook, webhook};
