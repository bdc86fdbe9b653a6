//! Decisions about machines and offers. No I/O and no clock: the time is an
//! argument.

mod address;
mod edit;
mod facts;
mod host_key;
mod machine;
mod offer;
mod requirements;
mod supplier;
mod work;

pub use address::Address;
pub use edit::Edit;
pub use facts::{Capacity, Claim, Disk, Facts, Gpu, Nic, driver_version};
pub use host_key::HostKey;
pub use machine::{Event, Machine, NewMachine, State};
pub use offer::{MAX_TERM, MIN_TERM, NewOffer, Offer, OfferState, Place, Terms};
pub use requirements::{Requirements, Wish, why_not_any, why_not_this};
pub use supplier::Supplier;
pub use work::{Verification, Wipe, Work};
