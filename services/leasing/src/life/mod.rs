//! The transactions that move a lease through its life, for the API and for
//! reconcile alike.
//!
//! Each locks in the same order: the lease's work, the lease, the balance, the
//! work of webhooks.
//! Each looks at the lease under its lock and changes nothing that is done
//! already, so two of them at once have one effect.

mod charge;
mod end;
mod place;
mod tell;

pub(crate) use charge::charge;
pub(crate) use end::{close, end};
pub(crate) use place::{Placed, place};
pub(crate) use tell::WEBHOOK;

/// Kind of the work on leases.
pub(crate) const WORK: &str = "lease";
