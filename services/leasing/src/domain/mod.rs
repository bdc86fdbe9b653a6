//! Decisions about leases and money. No I/O and no clock: the time is an
//! argument.

mod charge;
#[cfg(test)]
mod fixture;
mod lease;
mod ledger;
mod wish;

pub use charge::{Charge, Policy, Review, funds};
pub use lease::{CloseReason, Event, Grant, Lease, MAX_TERM, MIN_TERM, State};
pub use ledger::{Balance, Entry, Kind, Transfer};
pub use wish::{NewLease, Requirements, Wish, is_driver_version};
