//! Between messages and domain types. Nothing else in this service sees both.

mod facts;
mod machines;
mod offers;
mod work;

pub(super) use machines::{edit, state, stated};
pub(super) use offers::new_offer;
pub(super) use work::{problem, verification, wipe, wish, work};

use super::pb;
use crate::domain::Supplier;
use berth_core::Violations;
use berth_runtime::wire;

impl From<Supplier> for pb::Supplier {
    fn from(supplier: Supplier) -> Self {
        Self {
            id: supplier.id.to_string(),
            etag: wire::etag(supplier.version),
            create_time: Some(wire::timestamp(supplier.create_time)),
            name: supplier.name.to_string(),
        }
    }
}

/// A number of bytes that the database can hold.
fn bytes(violations: &mut Violations, field: &str, value: u64) -> i64 {
    i64::try_from(value).unwrap_or_else(|_| {
        violations.add(field, "must be at most 9223372036854775807");
        0
    })
}

/// Text of at most `max` characters without control characters.
fn text(violations: &mut Violations, field: &str, value: &str, max: usize) -> String {
    violations
        .check(field, berth_core::text(value, max))
        .unwrap_or_default()
}
