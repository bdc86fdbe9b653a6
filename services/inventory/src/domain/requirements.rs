//! What a lease asks for.

use super::{Offer, OfferState};
use berth_core::{Error, Money, OfferId, Resource};
use chrono::TimeDelta;

/// Least hardware that a machine must have. A zero asks for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Requirements {
    /// Logical processors.
    pub cpu_cores: i64,
    /// Memory in bytes.
    pub memory_bytes: i64,
    /// Free space on the data disk, in bytes.
    pub disk_bytes: i64,
    /// Random reads a second of the data disk.
    pub read_iops: i64,
    /// Random writes a second of the data disk.
    pub write_iops: i64,
    /// CPU flags.
    pub cpu_flags: Vec<String>,
    /// GPUs.
    pub gpu_count: i64,
    /// Memory of each GPU, in bytes.
    pub gpu_memory: i64,
    /// Least driver version, as numbers; empty asks for none.
    pub gpu_driver: Vec<i64>,
    /// Whether simultaneous multithreading must be off.
    pub smt_off: bool,
}

/// Which machine a lease wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// The one of this offer.
    Offer(OfferId),
    /// The cheapest that fits.
    Cheapest {
        /// What it must have.
        requirements: Requirements,
        /// Most that an hour may cost.
        max_price: Money,
    },
}

/// Why the machine of an offer cannot be had now.
#[must_use]
pub fn why_not_this(id: OfferId, offer: Option<&Offer>, term: TimeDelta) -> Error {
    match offer {
        None => Error::not_found(Resource::Offer, id),
        Some(offer) if offer.state == OfferState::Closed => Error::precondition(
            "OFFER_CLOSED",
            format!("offer `{id}` is closed; choose another"),
        ),
        Some(offer) if !offer.terms.allow(term) => Error::precondition(
            "TERM_NOT_OFFERED",
            format!(
                "offer `{id}` is for leases {}, not of {} seconds",
                offer.terms,
                term.num_seconds()
            ),
        ),
        Some(offer) => Error::exhausted(
            "NO_CAPACITY",
            format!(
                "machine `{}` of this offer is not free now; choose another offer or try later",
                offer.machine_name
            ),
        ),
    }
}

/// Why no machine fits, given the lowest price at which one would.
#[must_use]
pub fn why_not_any(max_price: Money, cheapest: Option<Money>) -> Error {
    let message = match cheapest {
        // It became free a moment ago, or is about to be given to somebody: maybe to
        // this lease, by a call whose answer was lost.
        Some(price) if price.micros <= max_price.micros => {
            return Error::unavailable("the machines that fit are being given away; try again");
        }
        Some(price) => format!(
            "no free machine that fits costs {max_price} an hour or less; the cheapest costs {price}"
        ),
        None => "no free machine has what is required, at any price; ask for less or try later"
            .to_owned(),
    };
    Error::exhausted("NO_CAPACITY", message)
}
