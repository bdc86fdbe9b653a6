//! Between messages and domain types. Nothing else in this service but the
//! client of inventory sees both.

mod leases;
mod ledger;

pub(super) use leases::{end_reason, extension, lease, new_lease, state};
pub(super) use ledger::credit;
