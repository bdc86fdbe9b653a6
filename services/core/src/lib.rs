//! The words every part of Berth shares: identifiers, names, money, fences,
//! the time and the one error.
//!
//! Nothing here does I/O, so every other crate may depend on it.

mod clock;
mod error;
mod fence;
mod id;
mod money;
mod name;

pub use clock::now;
pub use error::{Error, Resource, Result, Source, Violation, Violations, report};
pub use fence::Fence;
pub use id::{
    AccountId, EntryId, EventId, IncidentId, LeaseId, MachineId, NodeId, OfferId, ParseIdError,
    PlacementId, SupplierId, WebhookId,
};
pub use money::{Currency, Money};
pub use name::{Name, ParseNameError, is_control, text};
