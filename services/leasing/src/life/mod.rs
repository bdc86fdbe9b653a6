//! The transactions that move a lease through its life, for the API and for
//! reconcile alike.
//!
//! Each locks in the same order: the lease's work, the lease, the balance.
//! Each looks at the lease under its lock and changes nothing that is done
//! already, so two of them at once have one effect.

mod charge;
mod end;
mod place;

pub(crate) use charge::charge;
pub(crate) use end::{close, end};
pub(crate) use place::{Placed, place};

/// Kind of the work on leases.
pub(crate) const WORK: &str = "lease";
